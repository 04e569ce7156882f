"""Run NVIDIA's perf_analyzer on a Triton server with real frames, and read its CSV.

Sources: docs/cli.md, docs/input_data.md and docs/measurements_metrics.md of
triton-inference-server/perf_analyzer. Times in its CSV are in microseconds.
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

BUNDLED_DIR = ROOT / ".triton" / "perf_analyzer"
"""Where `scripts/setup.sh --bench` installs the program and links to its libraries."""
AVERAGED_WINDOWS = 3
"""perf_analyzer averages the last three measurement windows."""
TRANSPORTS = {
    "http": ("http", "none"),
    "grpc": ("grpc", "none"),
    "grpc+system": ("grpc", "system"),
    "grpc+cuda": ("grpc", "cuda"),
}
"""Protocol and type of shared memory for the tensors, by transport."""
CSV_COLUMNS = {
    "Concurrency": "concurrency",
    "Inferences/Second": "per_second",
    "p50 latency": "p50_ms",
    "p90 latency": "p90_ms",
    "p99 latency": "p99_ms",
    "Server Queue": "queue_ms",
    "Server Compute Infer": "compute_ms",
}
"""Field of `Measurement` by CSV column."""
COMPUTE_INPUT_OUTPUT_COLUMNS = ("Server Compute Input", "Server Compute Output")
ONE_REQUEST = "only one request"
"""Part of its error for a window that is too short for the model."""
NETWORK_COLUMNS = ("Client Send", "Network+Server Send/Recv", "Client Recv")


@dataclass(frozen=True)
class Measurement:
    """Result of perf_analyzer for one concurrency.

    Attributes:
        concurrency: Number of concurrent requests.
        per_second: Inferences per second.
        p50_ms: Median latency of a request, measured by the client.
        p90_ms: 90th percentile of the latency.
        p99_ms: 99th percentile of the latency.
        queue_ms: Mean time of a request in the server's queue.
        compute_ms: Mean time of inference in the backend.
        moved_ms: Mean time to copy a request's input to the backend, and its output back.
        network_ms: Mean time of a request outside the server.
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
        """Return the fields as a dictionary, for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class LoadSettings:
    """The load that perf_analyzer puts on one model.

    Attributes:
        model: Name of the model.
        url: HOST:PORT of the server, for the transport's protocol.
        transport: One of `TRANSPORTS`.
        data: File of `write_requests`.
        output_bytes: Size of the largest output, for shared memory.
        min_concurrency: Smallest number of concurrent requests.
        max_concurrency: Largest number of concurrent requests.
        window_ms: Length of a measurement window.
    """

    model: str
    url: str
    transport: str
    data: Path
    output_bytes: int
    min_concurrency: int
    max_concurrency: int
    window_ms: int


class PerfAnalyzer:
    """The program perf_analyzer: from PATH, otherwise from `scripts/setup.sh --bench`."""

    def __init__(self) -> None:
        """Find the program and read its version.

        Raises:
            UserError: It is not installed or cannot be run.
        """
        on_path = shutil.which("perf_analyzer")
        program = Path(on_path) if on_path else BUNDLED_DIR / "perf_analyzer"
        if not program.is_file():
            raise UserError(
                "perf_analyzer is not installed: run scripts/setup.sh --bench in a checkout; on a "
                "target with DeepStream, put that of NVIDIA's Triton SDK container on PATH"
            )
        self._program = str(program)
        self._environment = dict(os.environ)
        # Otherwise a proxy set for the machine would get the requests to this machine.
        self._environment["no_proxy"] = ",".join(
            filter(None, (os.environ.get("no_proxy"), *LOOPBACK))
        )
        if not on_path:
            self._environment["LD_LIBRARY_PATH"] = str(BUNDLED_DIR / "lib")
        result = self._run(["--version"], 30)
        version = re.search(r"Version (\S+)", result.stderr + result.stdout)
        if version is None:
            raise UserError(f"{program} --version: {_failure_reason(result)}")
        self.version = version[1]

    def measure(self, load: LoadSettings, csv_file: Path) -> list[Measurement]:
        """Measure a model on a running server.

        Args:
            load: The load to put on the server.
            csv_file: Where the CSV file of perf_analyzer is written.

        Returns:
            One measurement for each concurrency.

        Raises:
            UserError: The server or the model is not there, or perf_analyzer failed.
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
            f"--concurrency-range={load.min_concurrency}:{load.max_concurrency}",
            f"--measurement-interval={load.window_ms}",
            # Accept any variation: on a busy machine the results never become stable, and then
            # perf_analyzer writes no CSV. The variation is visible in p90 and p99.
            "--stability-percentage=999",
            "--verbose-csv",
            f"-f{partial}",
        ]
        steps = load.max_concurrency - load.min_concurrency + 1
        timeout_s = 60 + 5 * steps * AVERAGED_WINDOWS * load.window_ms / 1000
        result = self._run(command, timeout_s)
        try:
            if result.returncode or not partial.is_file():
                raise UserError(
                    f"perf_analyzer, {load.model} at {load.url} over {load.transport}: "
                    f"{_failure_reason(result)}"
                )
            measurements = read_csv(partial)
            partial.replace(csv_file)
        finally:
            partial.unlink(missing_ok=True)
        return measurements

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
                f"perf_analyzer did not end within {timeout_s:.0f} s: check that the server answers"
            ) from error
        except OSError as error:
            raise UserError(f"{self._program} cannot be run: {error.strerror}") from error


def read_csv(path: Path) -> list[Measurement]:
    """Read a CSV file of perf_analyzer.

    Args:
        path: The CSV file.

    Returns:
        The measurements, sorted by concurrency.

    Raises:
        UserError: The file has no rows, or a column is missing.
    """
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    if not rows:
        raise UserError(f"{path}: no rows, expected a CSV file of perf_analyzer")
    expected = (*CSV_COLUMNS, *COMPUTE_INPUT_OUTPUT_COLUMNS, *NETWORK_COLUMNS)
    missing = [name for name in expected if name not in rows[0]]
    if missing:
        raise UserError(f"{path}: no column '{missing[0]}', expected a CSV file of perf_analyzer")
    return sorted((_parse_row(row) for row in rows), key=lambda m: m.concurrency)


def write_requests(path: Path, name: str, tensors: list[NDArray[Any]]) -> None:
    """Write requests in perf_analyzer's JSON format for input data.

    Args:
        path: The file to write.
        name: Name of the input tensor.
        tensors: One tensor for each request, without the batch dimension.
    """
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


def _parse_row(row: dict[str, str]) -> Measurement:
    values = {field: float(row[column]) for column, field in CSV_COLUMNS.items()}
    values["moved_ms"] = sum(float(row[name]) for name in COMPUTE_INPUT_OUTPUT_COLUMNS)
    values["network_ms"] = sum(float(row[name]) for name in NETWORK_COLUMNS)
    fields = {k: round(v / 1000, 3) if k.endswith("_ms") else v for k, v in values.items()}
    fields["concurrency"] = int(fields["concurrency"])
    return Measurement(**fields)  # type: ignore[arg-type]


def _failure_reason(result: subprocess.CompletedProcess[str]) -> str:
    """Return the first line that mentions an error, otherwise the first line of the output."""
    output = result.stderr + result.stdout
    if ONE_REQUEST in output:
        return "one request only ended in a measurement window: expected a longer --window-ms"
    lines = [x.strip() for x in output.splitlines() if x.strip()]
    errors = [x.partition("rror: ")[2] or x for x in lines if re.search(r"error|failed", x, re.I)]
    return (errors or lines or [f"exit code {result.returncode}, no output"])[0]
