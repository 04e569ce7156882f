"""NVIDIA's perf_analyzer as a child process: found, given real frames, run, its CSV read.

Sources: docs/cli.md, docs/input_data.md and docs/measurements_metrics.md of
triton-inference-server/perf_analyzer. Times in its CSV are microseconds.
"""

from __future__ import annotations

import base64
import csv
import json
import os
import re
import shutil
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xpnet.addresses import LOOPBACK
from xpnet.errors import UserError
from xpnet.paths import ROOT

BUNDLED = ROOT / ".triton" / "perf_analyzer"
"""Where scripts/setup.sh --bench puts the program and links to what it loads."""
WINDOWS = 3
"""perf_analyzer averages its last three windows."""
TRANSPORTS = {
    "http": ("http", "none"),
    "grpc": ("grpc", "none"),
    "grpc+system": ("grpc", "system"),
    "grpc+cuda": ("grpc", "cuda"),
}
"""How a request travels: the protocol, and the memory that its tensors are shared in."""
COLUMNS = {
    "Concurrency": "concurrency",
    "Inferences/Second": "per_second",
    "p50 latency": "p50_ms",
    "p90 latency": "p90_ms",
    "p99 latency": "p99_ms",
    "Server Queue": "queue_ms",
    "Server Compute Infer": "compute_ms",
}
MOVED = ("Server Compute Input", "Server Compute Output")
NETWORK = ("Client Send", "Network+Server Send/Recv", "Client Recv")


@dataclass(frozen=True)
class Reading:
    """One concurrency. Latencies as the client saw them; the rest is the mean of a request.

    `queue_ms` waiting in the server, `compute_ms` in the backend, `moved_ms` to and from the
    backend, `network_ms` everything outside the server.
    """

    concurrency: int
    per_second: float
    p50_ms: float
    p90_ms: float
    p99_ms: float
    queue_ms: float
    compute_ms: float
    moved_ms: float
    network_ms: float

    def as_dict(self) -> dict[str, float]:
        """Plain values, ready for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Load:
    """Requests for one model: so many at a time, from `first` to `last`, for `window_ms` each."""

    model: str
    url: str
    transport: str  # of TRANSPORTS
    data: Path  # of write_requests
    output_bytes: int
    first: int
    last: int
    window_ms: int


class PerfAnalyzer:
    """The program of NVIDIA's SDK on PATH, else the one of scripts/setup.sh --bench.

    Raises:
        UserError: neither is installed, or it cannot be run.
    """

    def __init__(self) -> None:
        found = shutil.which("perf_analyzer")
        program = Path(found) if found else BUNDLED / "perf_analyzer"
        if not program.is_file():
            raise UserError(
                "perf_analyzer is not installed: scripts/setup.sh --bench brings it; on a target "
                "with DeepStream put NVIDIA's, of the Triton SDK container, on PATH"
            )
        self._program = str(program)
        self._environment = dict(os.environ)
        # A machine-wide proxy would send requests to this very machine away.
        self._environment["no_proxy"] = ",".join(
            filter(None, (os.environ.get("no_proxy"), *LOOPBACK))
        )
        if not found:
            self._environment["LD_LIBRARY_PATH"] = str(BUNDLED / "lib")
        said = self._run(["--version"], 30)
        version = re.search(r"Version (\S+)", said.stderr + said.stdout)
        if version is None:
            raise UserError(f"{program} --version: {_reason(said)}")
        self.version = version[1]

    def measure(self, load: Load, csv_file: Path) -> list[Reading]:
        """Puts the load on a running server; keeps the program's CSV in `csv_file`.

        Raises:
            UserError: no server, no such model, or perf_analyzer's own reason.
        """
        protocol, memory = TRANSPORTS[load.transport]
        partial = csv_file.with_name(f".{csv_file.name}.part")
        command = [
            f"-m{load.model}",
            f"-u{load.url}",
            f"-i{protocol}",
            f"--shared-memory={memory}",
            f"--output-shared-memory-size={load.output_bytes}",
            f"--input-data={load.data}",
            f"--concurrency-range={load.first}:{load.last}",
            f"--measurement-interval={load.window_ms}",
            # A busy machine never settles, and an unsettled one gets no CSV: what varies is seen
            # in p90 and p99.
            "--stability-percentage=999",
            "--verbose-csv",
            f"-f{partial}",
        ]
        steps = load.last - load.first + 1
        said = self._run(command, 60 + 5 * steps * WINDOWS * load.window_ms / 1000)
        try:
            if said.returncode or not partial.is_file():
                raise UserError(
                    f"perf_analyzer, {load.model} at {load.url} by {load.transport}: "
                    f"{_reason(said)}"
                )
            readings = read_csv(partial)
            partial.replace(csv_file)
        finally:
            partial.unlink(missing_ok=True)
        return readings

    def _run(self, arguments: list[str], timeout_s: float) -> subprocess.CompletedProcess[str]:
        try:
            return subprocess.run(
                [self._program, *arguments],
                env=self._environment,
                capture_output=True,
                text=True,
                timeout=timeout_s,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise UserError(
                f"perf_analyzer gave no answer within {timeout_s:.0f} s: is the server stalled?"
            ) from error
        except OSError as error:
            raise UserError(f"{self._program} cannot be run: {error.strerror}") from error


def read_csv(path: Path) -> list[Reading]:
    """The rows of a CSV of perf_analyzer, by concurrency.

    Raises:
        UserError: a column is missing, or no row is there.
    """
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    if not rows:
        raise UserError(f"{path}: no row in it, expected a CSV of perf_analyzer")
    missing = [name for name in (*COLUMNS, *MOVED, *NETWORK) if name not in rows[0]]
    if missing:
        raise UserError(f"{path}: no column '{missing[0]}', expected a CSV of perf_analyzer")
    return sorted((_reading(row) for row in rows), key=lambda reading: reading.concurrency)


def write_requests(path: Path, name: str, tensors: list[NDArray[Any]]) -> None:
    """Writes real requests for perf_analyzer: each of `tensors` is one, without its batch."""
    entries = [
        {
            name: {
                "content": {"b64": base64.b64encode(np.ascontiguousarray(t).tobytes()).decode()},
                "shape": list(t.shape),
            }
        }
        for t in tensors
    ]
    path.write_text(json.dumps({"data": entries}), encoding="utf-8")


def _reading(row: dict[str, str]) -> Reading:
    values = {ours: float(row[theirs]) for theirs, ours in COLUMNS.items()}
    values["moved_ms"] = sum(float(row[name]) for name in MOVED)
    values["network_ms"] = sum(float(row[name]) for name in NETWORK)
    found = {k: round(v / 1000, 3) if k.endswith("_ms") else v for k, v in values.items()}
    return Reading(**{**found, "concurrency": int(found["concurrency"])})  # type: ignore[arg-type]


def _reason(said: subprocess.CompletedProcess[str]) -> str:
    """The line that tells best what went wrong."""
    lines = [x.strip() for x in (said.stderr + said.stdout).splitlines() if x.strip()]
    errors = [x.partition("rror: ")[2] or x for x in lines if re.search(r"error|failed", x, re.I)]
    return (errors or lines or [f"exit code {said.returncode}, no output"])[0]
