"""`xpnet bench network`: times every network in every runtime and precision of this CPU.

The networks run alternately, so that other load on the machine affects all alike: each round runs
each of them once, and the median of the rounds counts.
"""

from __future__ import annotations

import logging
import tempfile
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from training.bench.network_candidates import Row, candidates, check_networks, open_subject
from training.bench.network_runtimes import ALL_RUNTIMES, Run
from training.bench.peak import measure_peak
from training.export.layer_forms import Forms
from xpnet.errors import UserError
from xpnet.frames import Frame
from xpnet.host.cpu import measured_here
from xpnet.host.versions import package_versions

log = logging.getLogger("xpnet.bench")

PACKAGES = (
    "torch", "onnxruntime", "openvino", "monai", "torchvision", "timm",
    "segmentation-models-pytorch",
)  # fmt: skip


@dataclass(frozen=True)
class NetworkBench:
    """What is timed.

    Attributes:
        names: Keys of training.models.zoo.NETWORKS or of training.models.peers.PEERS.
        sizes: Heights and widths in pixels.
        batches: Frames of one call.
        rounds: Number of rounds.
        frames: Real frames, H x W x 3 uint8 RGB.
        weights: Folder of weights.
        repository: The Triton model repository.
        runtimes: Some of training.bench.network_runtimes.
        forms: Layer forms by network; without an entry, the included ones are timed.

    Raises:
        UserError: An unknown network or runtime, or no round or batch.
    """

    names: list[str]
    sizes: list[int]
    batches: list[int]
    rounds: int
    frames: list[Frame]
    weights: Path
    repository: Path
    runtimes: list[str]
    forms: dict[str, Forms] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_networks(self.names)
        foreign = [name for name in self.runtimes if name not in ALL_RUNTIMES]
        if foreign:
            raise UserError(f"runtime '{foreign[0]}': expected some of {', '.join(ALL_RUNTIMES)}")
        if self.rounds < 1:
            raise UserError(f"--rounds {self.rounds}: expected at least 1")
        for batch in self.batches:
            if batch < 1:
                raise UserError(f"--batches {batch}: expected at least 1")


def bench_network(bench: NetworkBench) -> dict[str, Any]:
    """Time networks at each size; see training.bench.network_candidates.Row.

    Args:
        bench: What is timed.

    Returns:
        The machine, its cores, the date, `versions`, `peak` as `measure_peak` returns it, `rounds`,
        `rows`, and `left_out` with reasons. A row also has `peak_share`: its arithmetic as a share
        of the highest measured rate in its precision; null for uint8.

    Raises:
        UserError: A size is not a multiple of 16, an export fails, or everything was left out.
    """
    peak = measure_peak()
    rows: list[Row] = []
    left_out: list[str] = []
    for size in bench.sizes:
        with tempfile.TemporaryDirectory() as folder:
            made = _prepare(bench, size, Path(folder), left_out)
            _time(made, bench.rounds)
            rows += [row for row, _ in made]
    if not rows:
        reasons = "; ".join(dict.fromkeys(left_out)) or "no runtime for these networks"
        raise UserError(f"nothing to time: {reasons}")
    return {
        **measured_here(),
        "versions": {n: v for n, v in package_versions(PACKAGES).items() if v},
        "peak": peak,
        "rounds": bench.rounds,
        "rows": [{**asdict(row), "peak_share": _peak_share(row, peak)} for row in rows],
        "left_out": list(dict.fromkeys(left_out)),
    }


def _prepare(
    bench: NetworkBench, size: int, folder: Path, left_out: list[str]
) -> list[tuple[Row, Run]]:
    """Return the rows of one size with their runs; add to `left_out` what this machine lacks."""
    made = []
    for name in bench.names:
        try:
            subject = open_subject(name, size, bench.weights, bench.forms)
        except UserError as error:
            if "does not import" not in str(error):
                raise
            left_out.append(f"{name}: {error}")
            continue
        log.info("%s at %d pixels", name, size)
        found = candidates(name, subject, bench.frames, bench.batches, folder, bench.repository)
        for row, build in found:
            if row.runtime not in bench.runtimes:
                continue
            try:
                made.append((row, build()))
            except UserError as error:
                left_out.append(f"{name}, {row.runtime}, {row.precision}: {error}")
    return made


def _time(made: list[tuple[Row, Run]], rounds: int) -> None:
    """Fill in the times; the first round is a warm-up and does not count."""
    times: list[list[float]] = [[] for _ in made]
    for _ in tqdm(range(rounds + 1), "rounds", disable=None):
        for (_, run), own in zip(made, times, strict=True):
            start = time.perf_counter()
            run()
            own.append((time.perf_counter() - start) * 1000)
    for (row, _), own in zip(made, times, strict=True):
        found = [round(float(p), 2) for p in np.percentile(own[1:], (10, 50, 90))]
        row.p10_ms, row.median_ms, row.p90_ms = found


def _peak_share(row: Row, peak: dict[str, float]) -> float | None:
    rate = peak.get(f"{row.precision}_gflops")
    if rate is None:
        return None
    gflops = 2 * row.multiply_adds * row.batch / row.median_ms / 1e6
    return round(gflops / rate, 4)
