"""`xpnet bench server`: measure Triton with perf_analyzer, and compare with in-process inference.

For each model, each transport, and dynamic batching on and off, perf_analyzer measures 1 to N
concurrent requests.

For the comparison, windows of inference in process and of perf_analyzer alternate. The result is
the median of the ratios of all rounds, so that other load on the machine affects both sides
equally.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from xpnet.bench.in_process import InProcessInference
from xpnet.bench.perf_analyzer import TRANSPORTS, LoadSettings, PerfAnalyzer, write_requests
from xpnet.bench.triton_endpoint import Endpoint
from xpnet.card import read_card
from xpnet.errors import UserError
from xpnet.frames import Frame, frame_to_tensor
from xpnet.host.cpu import measured_here
from xpnet.host.gpu import describe_gpu
from xpnet.host.nvidia_software import detect_nvidia_software
from xpnet.paths import MODEL_REPOSITORY, card_path, plan_path
from xpnet.serving.cpu_runtimes import best_runtime
from xpnet.serving.model_config import FRAME_MODEL, parse_config
from xpnet.serving.model_repository import without_batching
from xpnet.serving.triton_server import (
    ServerSettings,
    find_tritonserver,
    running_server,
    servable_models,
)

log = logging.getLogger("xpnet.bench")

COMPARISON_CONCURRENCY = 2
"""Concurrent requests in the comparison of Triton with inference in process."""


@dataclass(frozen=True)
class BenchSettings:
    """Settings of one `xpnet bench server`.

    Attributes:
        frames: Frames to send, each H x W x 3, RGB, uint8.
        csv_dir: Folder for the CSV files of perf_analyzer.
        models: Models to measure; empty for every model that can be served.
        transports: Some of `xpnet.bench.perf_analyzer.TRANSPORTS`. The last available one is used
            for the comparison with inference in process.
        batching: Dynamic batching "on", "off" or both, for a server that this command starts.
        concurrency: Largest number of concurrent requests.
        window_ms: Length of a measurement window.
        rounds: Rounds of the comparison with inference in process; 0 for no comparison.
        url: HOST:PORT for gRPC of a running server; empty to start a server.
        http_url: HOST:PORT for HTTP of that server; empty to skip HTTP.
        repository: The model repository.
    """

    frames: tuple[Frame, ...]
    csv_dir: Path
    models: tuple[str, ...] = ()
    transports: tuple[str, ...] = tuple(TRANSPORTS)
    batching: tuple[str, ...] = ("on", "off")
    concurrency: int = 8
    window_ms: int = 2000
    rounds: int = 7
    url: str = ""
    http_url: str = ""
    repository: Path = MODEL_REPOSITORY

    def __post_init__(self) -> None:
        for name, minimum in (("concurrency", 1), ("window_ms", 100), ("rounds", 0)):
            if getattr(self, name) < minimum:
                option = f"--{name.replace('_', '-')}"
                raise UserError(f"{option} {getattr(self, name)}: expected at least {minimum}")
        for name in self.transports:
            if name not in TRANSPORTS:
                raise UserError(f"transport '{name}': expected some of {', '.join(TRANSPORTS)}")
        if self.http_url and not self.url:
            raise UserError("--http-url: give --url, the server's gRPC address, too")


def bench_server(settings: BenchSettings) -> dict[str, Any]:
    """Measure all models on a running server, or on a server started for this.

    Returns:
        The report: machine and versions; `rows`, one measurement each; `against`, the comparisons
        with inference in process; `left_out`, what was skipped and why.

    Raises:
        UserError: perf_analyzer, the server or a model is missing, or no server answers.
    """
    program = PerfAnalyzer()
    try:
        settings.csv_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = f"cannot create the folder: {error.strerror}"
        raise UserError(f"{settings.csv_dir}: {reason}") from error
    load_before = round(os.getloadavg()[0], 2)
    bench = _ServerBench(settings, program)
    if settings.url:
        bench.measure(Endpoint.from_url(settings.url, settings.http_url))
    else:
        for batching in settings.batching:
            with _started_server(settings, batching) as endpoint:
                bench.measure(endpoint, batching)
    return {
        **measured_here(),
        "load_before": load_before,
        "triton": bench.triton_version,
        "runtime": None if settings.url else served_runtime(),
        "perf_analyzer": program.version,
        "window_ms": settings.window_ms,
        "rows": bench.rows,
        "against": bench.comparisons,
        "left_out": list(dict.fromkeys(bench.skipped)),
    }


def served_runtime() -> str:
    """Return the runtime that computes ONNX models in the server of this machine.

    One of `xpnet.serving.cpu_runtimes`.
    """
    _, backends = find_tritonserver()
    return best_runtime() if (backends / "onnxruntime" / "model.py").is_file() else "onnxruntime"


@dataclass(frozen=True)
class _Requests:
    """Requests for one model: perf_analyzer's input data, and the size of the largest output."""

    model: str
    data: Path
    output_bytes: int


class _ServerBench:
    """Runs the measurements of one command and collects their results."""

    def __init__(self, settings: BenchSettings, program: PerfAnalyzer) -> None:
        self._settings, self._program = settings, program
        self.rows: list[dict[str, Any]] = []
        self.comparisons: list[dict[str, Any]] = []
        self.skipped: list[str] = []
        self.triton_version = ""

    def measure(self, endpoint: Endpoint, started_with_batching: str = "") -> None:
        """Measure every model of one server.

        Args:
            endpoint: The server.
            started_with_batching: "on" or "off", for a server that this command started.
        """
        settings = self._settings
        self.triton_version = endpoint.version()
        transports = [t for t in settings.transports if self._is_available(t, endpoint)]
        models = endpoint.models if endpoint.started_here else _remote_models(settings, endpoint)
        if not transports:
            raise UserError(f"nothing to measure: {'; '.join(self.skipped)}")
        with TemporaryDirectory() as folder:
            for model in models:
                if (
                    model == FRAME_MODEL
                    and started_with_batching == "off"
                    and "on" in settings.batching
                ):
                    continue  # it never has dynamic batching: measured on the first server
                batching = endpoint.batching(model)
                requests = self._write_requests(model, Path(folder))
                for transport in transports:
                    self._sweep_concurrency(endpoint, requests, transport, batching)
                if settings.rounds and batching == "on" and model != FRAME_MODEL:
                    self._compare_in_process(endpoint, requests, transports[-1])

    def _sweep_concurrency(
        self, endpoint: Endpoint, requests: _Requests, transport: str, batching: str
    ) -> None:
        log.info("%s, %s, batching %s", requests.model, transport, batching)
        load = self._load(endpoint, requests, transport, 1, self._settings.concurrency)
        file_name = f"{requests.model}.{transport}.batching-{batching}.csv"
        for measurement in self._program.measure(load, self._settings.csv_dir / file_name):
            row = {"model": requests.model, "transport": transport, "batching": batching}
            self.rows.append({**row, **measurement.as_dict()})

    def _compare_in_process(self, endpoint: Endpoint, requests: _Requests, transport: str) -> None:
        """Alternate windows of inference in process and of Triton."""
        settings, model = self._settings, requests.model
        if not endpoint.is_local:
            self.skipped.append(f"inference in process: {endpoint.grpc} is another machine")
            return
        model_dir, runtime = settings.repository / model, _in_process_runtime(endpoint)
        concurrency = COMPARISON_CONCURRENCY
        load = self._load(endpoint, requests, transport, concurrency, concurrency)
        rounds = []
        with (
            TemporaryDirectory() as folder,
            closing(InProcessInference(model_dir, runtime, settings.frames)) as in_process,
        ):
            for _ in range(settings.rounds):
                fps = in_process.measure_fps(concurrency, settings.window_ms / 1000)
                (triton,) = self._program.measure(load, Path(folder) / "round.csv")
                rounds.append((fps, triton.per_second))
                log.info("%s: in process %.1f fps, Triton %.1f fps", model, *rounds[-1])
        self.comparisons.append(
            {
                "model": model,
                "in_process_by": "TensorRT" if plan_path(model_dir).is_file() else runtime,
                "transport": transport,
                "concurrency": concurrency,
                "in_process_per_second": round(median(a for a, _ in rounds), 2),
                "triton_per_second": round(median(b for _, b in rounds), 2),
                "ratio": round(median(b / a for a, b in rounds), 4),
                "rounds": [[round(a, 2), round(b, 2)] for a, b in rounds],
            }
        )

    def _load(
        self, endpoint: Endpoint, requests: _Requests, transport: str, lowest: int, highest: int
    ) -> LoadSettings:
        url = endpoint.http if TRANSPORTS[transport][0] == "http" else endpoint.grpc
        return LoadSettings(
            requests.model,
            url,
            transport,
            requests.data,
            requests.output_bytes,
            lowest,
            highest,
            self._settings.window_ms,
        )

    def _write_requests(self, model: str, folder: Path) -> _Requests:
        frames, data = self._settings.frames, folder / f"{model}.json"
        if model == FRAME_MODEL:
            write_requests(data, "frame", list(frames))
            return _Requests(model, data, max(f.shape[0] * f.shape[1] for f in frames))
        card = read_card(card_path(self._settings.repository / model))
        height, width = card.input.height, card.input.width
        tensors = [frame_to_tensor(frame, height, width)[0] for frame in frames]
        write_requests(data, card.input.name, tensors)
        return _Requests(model, data, 4 * card.output.height * card.output.width)

    def _is_available(self, transport: str, endpoint: Endpoint) -> bool:
        """Return whether the transport can be used; if not, note the reason in `skipped`."""
        protocol, memory = TRANSPORTS[transport]
        reason = ""
        if protocol == "http" and not endpoint.http:
            reason = "no --http-url"
        elif memory != "none" and not endpoint.is_local:
            reason = f"{endpoint.grpc} is another machine, without shared memory"
        elif memory != "none":
            reason = endpoint.shared_memory_error()
            if memory == "cuda":
                reason = reason or _cuda_error()
        if reason:
            self.skipped.append(f"{transport}: {reason}")
        return not reason


@contextmanager
def _started_server(settings: BenchSettings, batching: str) -> Iterator[Endpoint]:
    """Start a server on free ports; for batching "off" it serves a changed copy of the models."""
    models = servable_models(settings.repository, settings.models)
    with TemporaryDirectory() as folder:
        repository = settings.repository
        if batching == "off":
            repository = Path(folder) / "models"
            without_batching(settings.repository, models, repository)
        server = ServerSettings(repository, models, http_port=0, grpc_port=0, metrics_port=0)
        with running_server(server) as running:
            yield Endpoint.from_server(running)


def _remote_models(settings: BenchSettings, endpoint: Endpoint) -> tuple[str, ...]:
    """Return the models to measure on a server that this command did not start.

    By default these are the models of our repository that the server serves.
    """
    if settings.models:
        for name in settings.models:
            endpoint.require_model(name)
            parse_config(settings.repository / name / "config.pbtxt")
        return settings.models
    known = sorted(p.parent.name for p in settings.repository.glob("*/config.pbtxt"))
    served = tuple(name for name in known if endpoint.has_model(name))
    if not served:
        raise UserError(
            f"Triton at {endpoint.grpc}: serves none of {', '.join(known) or 'no models'}"
        )
    return served


def _in_process_runtime(endpoint: Endpoint) -> str:
    """Return the runtime for inference in process: the one that the server uses.

    If tritonserver is not installed here, but a local server answers, then it runs in NVIDIA's
    container and uses ONNX Runtime.
    """
    try:
        return served_runtime()
    except UserError:
        if endpoint.started_here:
            raise
        return "onnxruntime"


def _cuda_error() -> str:
    """Return why CUDA shared memory cannot be used on this machine; empty if it can."""
    if detect_nvidia_software().jetson:
        return "a Jetson shares no CUDA memory between processes (NVIDIA, Triton on Jetson)"
    if shutil.which("nvidia-smi") is None:
        return "no NVIDIA driver on this machine: no nvidia-smi"
    try:
        describe_gpu("rtx")
    except UserError as error:
        return str(error)
    return ""
