"""`xpnet bench network`: times every network in every runtime and precision of this CPU.

The networks run alternately, so that other load on the machine affects all alike: each round runs
each of them once, and the median of the rounds counts.
"""

from __future__ import annotations

import copy
import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from training.bench.network_runtimes import ALL_RUNTIMES, Run, onnx_run, torch_run
from training.export.layer_forms import Forms, apply_forms, included_forms
from training.export.onnx_export import export_onnx
from training.export.precision import convert
from training.models.weight_files import load_network
from training.models.zoo import MODEL_NAMES, NETWORKS, Network
from xpnet.card import Card, new_card, read_card
from xpnet.errors import UserError
from xpnet.frames import Frame, frame_to_tensor
from xpnet.host.cpu import measured_here
from xpnet.serving.cpu_runtimes import best_runtime, computes_bf16
from xpnet.serving.model_config import onnx_name

BATCH = 1
"""A live frame does not wait for others."""


@dataclass
class Row:
    """A network in one form; `shipped` marks the form that is served on a CPU."""

    network: str
    graph: str  # trained (torch), exported, or tuned (in the forms of `xpnet export tune`)
    runtime: str
    precision: str
    size: int
    batch: int
    median_ms: float
    shipped: bool


def bench_network(
    names: list[str],
    sizes: list[int],
    rounds: int,
    frames: list[Frame],
    weights: Path,
    repository: Path,
    forms: dict[str, Forms],
    runtimes: list[str],
) -> dict[str, Any]:
    """Time networks at each size; see `Row`.

    Args: names: Keys of NETWORKS. sizes: Heights and widths in pixels. rounds: Number of rounds.
        frames: Real frames, H x W x 3 uint8 RGB. weights: Folder of weights; a network without
        weights gets fresh ones, which take the same time. repository: The Triton model repository.
        forms: Layer forms by network; without an entry, the included ones are timed. runtimes: Some
        of training.bench.network_runtimes.

    Returns:
        The machine, its cores, the date, `rounds`, `rows`, and `left_out` with reasons.

    Raises:
        UserError: An unknown network, or a size that is not a multiple of 16.
    """
    unknown = [name for name in names if name not in NETWORKS]
    if unknown:
        raise UserError(f"network '{unknown[0]}': expected some of {', '.join(NETWORKS)}")
    foreign = [name for name in runtimes if name not in ALL_RUNTIMES]
    if foreign:
        raise UserError(f"runtime '{foreign[0]}': expected some of {', '.join(ALL_RUNTIMES)}")
    rows: list[Row] = []
    left_out: list[str] = []
    for size in sizes:
        with tempfile.TemporaryDirectory() as folder:
            made: list[tuple[Row, Run]] = []
            for name in names:
                network, card = _network(name, size, weights)
                for row, build in _candidates(
                    network, card, frames, Path(folder), repository, _forms(forms, name)
                ):
                    if row.runtime not in runtimes:
                        continue
                    try:
                        made.append((row, build()))
                    except UserError as error:
                        left_out.append(f"{name}, {row.runtime}, {row.precision}: {error}")
            _time(made, rounds)
            rows += [row for row, _ in made]
    return {
        **measured_here(),
        "rounds": rounds,
        "rows": [asdict(row) for row in rows],
        "left_out": left_out,
    }


def as_markdown(found: dict[str, Any]) -> str:
    """Return the rows as a table, with the speed relative to the U-Net in FP32 on ONNX Runtime."""
    base = {
        row["size"]: row["median_ms"]
        for row in found["rows"]
        if (row["network"], row["graph"], row["runtime"], row["precision"])
        == ("unet", "exported", "onnxruntime", "fp32")
    }
    lines = [
        "| network | graph | runtime | precision | size | median ms | times the U-Net |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in found["rows"]:
        ratio = f"{base[row['size']] / row['median_ms']:.2f}" if row["size"] in base else ""
        mark = " **shipped**" if row["shipped"] else ""
        lines.append(
            f"| {row['network']} | {row['graph']} | {row['runtime']}{mark} | {row['precision']} "
            f"| {row['size']} | {row['median_ms']:.1f} | {ratio} |"
        )
    lines += ["", f"{found['machine']}, {found['cores']} cores, {found['date']}"]
    return "\n".join([*lines, *(f"Left out: {reason}" for reason in found["left_out"])]) + "\n"


def _forms(given: dict[str, Forms], name: str) -> Forms:
    return given[name] if name in given else included_forms(name, "fp32")


def _network(name: str, size: int, weights: Path) -> tuple[Network, Card]:
    trained = weights / f"{name}.safetensors"
    if trained.is_file():
        network, card = load_network(trained)
        return network, card.at_size(size, size)
    torch.manual_seed(1)
    network = NETWORKS[name]().eval()
    count = sum(p.numel() for p in network.parameters())
    card = new_card(
        MODEL_NAMES[name], name, count, size, licence="none", data=(), git_commit="none"
    )
    return network, card.at_size(size, size)


def _candidates(
    network: Network,
    card: Card,
    frames: list[Frame],
    folder: Path,
    repository: Path,
    forms: Forms,
) -> Iterator[tuple[Row, Any]]:
    """Return rows without a time, and what prepares each of them."""
    size = card.input.height
    tensor = frame_to_tensor(frames[0], size, size)
    served = _served(repository, card)
    floats = ["fp32", *(["bf16"] if computes_bf16() else [])]

    def row(graph: str, runtime: str, precision: str) -> Row:
        shipped = (graph, runtime, precision) == served
        return Row(card.network, graph, runtime, precision, size, BATCH, 0.0, shipped)

    for kind in floats:
        yield (
            row("trained", "torch.compile", kind),
            lambda kind=kind: torch_run(copy.deepcopy(network), tensor, kind),
        )
    for graph, own in [("exported", {}), *([("tuned", forms)] if forms else [])]:
        exported = folder / f"{card.network}.{graph}.onnx"
        _export(network, card, frames, exported, own)
        quantised = exported.with_suffix(".uint8.onnx")
        # Every convolution in INT8: keeping a few in float would cost little.
        convert(exported, card, frames, "uint8", quantised, agreement=0.0)
        made: list[tuple[Path, str, str, str | None]]
        made = [(exported, "onnxruntime", "fp32", None), (quantised, "onnxruntime", "uint8", None)]
        made += [(exported, "openvino", kind, kind) for kind in floats]
        made += [(quantised, "openvino", "uint8", None)]
        for path, runtime, precision, asked in made:
            yield (
                row(graph, runtime, precision),
                lambda path=path, runtime=runtime, asked=asked: onnx_run(
                    path, card, tensor, runtime, asked
                ),
            )


def _export(network: Network, card: Card, frames: list[Frame], path: Path, forms: Forms) -> None:
    """Export as `xpnet export`, but compare with the rewritten network: only speed matters."""
    export_onnx(apply_forms(network, forms), card, frames[:1], path)


def _served(repository: Path, card: Card) -> tuple[str, str, str] | None:
    """Return graph, runtime and precision in which this machine serves a network, or None."""
    path = repository / onnx_name(card) / "card.json"
    if not path.is_file():
        return None
    graph, runtime = read_card(path).graph, best_runtime()
    precision = graph.get("precision", "fp32")
    if precision == "fp32" and runtime == "openvino":
        precision = "bf16"  # best_runtime returns OpenVINO for bf16 only
    return ("tuned" if graph.get("forms") else "exported", runtime, precision)


def _time(made: list[tuple[Row, Run]], rounds: int) -> None:
    """Fill in `median_ms`; the first round is a warm-up and does not count."""
    times: list[list[float]] = [[] for _ in made]
    for _ in tqdm(range(rounds + 1), "rounds", disable=None):
        for (_, run), own in zip(made, times, strict=True):
            start = time.perf_counter()
            run()
            own.append((time.perf_counter() - start) * 1000)
    for (row, _), own in zip(made, times, strict=True):
        row.median_ms = round(float(statistics.median(own[1:])), 2)
