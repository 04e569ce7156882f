"""`xpnet bench server`: the real perf_analyzer on every model, and the same network in process.

For each model, way of transport and dynamic batching on and off, perf_analyzer asks the server with
1 to N requests at a time. What Triton adds is measured apart, by turns: one window in this process,
one window of perf_analyzer, and so on; the median of the rounds' ratios counts, so that what else
the machine does meets both alike.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xpnet.bench.in_process import InProcess
from xpnet.bench.perf_analyzer import TRANSPORTS, Load, PerfAnalyzer, write_requests
from xpnet.bench.triton_endpoint import Endpoint, own_endpoint
from xpnet.card import Card, read_card
from xpnet.errors import UserError
from xpnet.frames import Frame, frame_to_tensor
from xpnet.host.cpu import describe_machine
from xpnet.host.gpu import describe_gpu
from xpnet.host.nvidia_software import look
from xpnet.paths import MODEL_REPOSITORY
from xpnet.serving.cpu_runtimes import best_runtime
from xpnet.serving.model_config import parse_config
from xpnet.serving.model_repository import without_batching
from xpnet.serving.triton_server import (
    ServerSettings,
    find_tritonserver,
    running_server,
    servable_models,
)

log = logging.getLogger("xpnet.bench")

FRAME_MODEL = "xpnet_frame"
COMPARED_AT = 2
"""Requests at a time where Triton is compared with inference in process."""


@dataclass(frozen=True)
class BenchSettings:
    """One run. `url` and `http_url` are HOST:PORT of a server that runs already."""

    frames: tuple[Frame, ...]
    csv: Path  # folder for perf_analyzer's files
    models: tuple[str, ...] = ()  # empty: every model that can be served
    transports: tuple[str, ...] = tuple(TRANSPORTS)
    batching: tuple[str, ...] = ("on", "off")
    concurrency: int = 8
    window_ms: int = 2000
    rounds: int = 7
    url: str = ""
    http_url: str = ""
    repository: Path = MODEL_REPOSITORY

    def __post_init__(self) -> None:
        for name, low in (("concurrency", 1), ("window_ms", 100), ("rounds", 0)):
            if getattr(self, name) < low:
                option = f"--{name.replace('_', '-')}"
                raise UserError(f"{option} {getattr(self, name)}: expected at least {low}")
        for name in self.transports:
            if name not in TRANSPORTS:
                raise UserError(f"transport '{name}': expected some of {', '.join(TRANSPORTS)}")
        if self.http_url and not self.url:
            raise UserError("--http-url: give --url, the server's gRPC address, too")


def bench_server(settings: BenchSettings) -> dict[str, Any]:
    """Measures; returns machine, versions, `rows`, `against` and `left_out` with its reasons.

    Raises:
        UserError: perf_analyzer or the server is missing, a model is not there, or no server
            answers.
    """
    program = PerfAnalyzer()
    try:
        settings.csv.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{settings.csv}: cannot be made: {error.strerror}") from error
    load_before = round(os.getloadavg()[0], 2)  # what else runs here
    run = _Run(settings, program)
    if settings.url:
        run.measure(Endpoint.of(settings.url, settings.http_url))
    else:
        for batching in settings.batching:
            with _own_server(settings, batching) as endpoint:
                run.measure(endpoint, batching)
    return {
        "machine": describe_machine(),
        "cores": os.cpu_count(),
        "load_before": load_before,
        "date": date.today().isoformat(),
        "triton": run.triton,
        "runtime": None if settings.url else served_runtime(),
        "perf_analyzer": program.version,
        "window_ms": settings.window_ms,
        "rows": run.rows,
        "against": run.against,
        "left_out": list(dict.fromkeys(run.left_out)),
    }


def served_runtime() -> str:
    """What computes an ONNX model in the server of this machine: see xpnet.serving.cpu_runtimes."""
    _, backends = find_tritonserver()
    return best_runtime() if (backends / "onnxruntime" / "model.py").is_file() else "onnxruntime"


class _Run:
    """The measurements of one command, gathered."""

    def __init__(self, settings: BenchSettings, program: PerfAnalyzer) -> None:
        self._settings, self._program = settings, program
        self.rows: list[dict[str, Any]] = []
        self.against: list[dict[str, Any]] = []
        self.left_out: list[str] = []
        self.triton = ""

    def measure(self, endpoint: Endpoint, asked: str = "") -> None:
        """Everything on one server. `asked` is what was asked of its batching, on or off."""
        settings = self._settings
        self.triton = endpoint.version()
        transports = [t for t in settings.transports if self._can(t, endpoint)]
        models = endpoint.models if endpoint.ours else _remote_models(settings, endpoint)
        if not transports:
            raise UserError(f"nothing to measure: {'; '.join(self.left_out)}")
        with TemporaryDirectory() as folder:
            for model in models:
                batching = endpoint.batching(model)
                if asked == "off" and model == FRAME_MODEL and "on" in settings.batching:
                    continue  # it has no batching of its own: measured already
                data, output = self._requests(model, Path(folder))
                for transport in transports:
                    self._sweep(endpoint, model, transport, batching, data, output)
                if settings.rounds and batching == "on" and model != FRAME_MODEL:
                    self._compare(endpoint, model, transports[-1], data, output)

    def _sweep(
        self, endpoint: Endpoint, model: str, transport: str, batching: str, data: Path, output: int
    ) -> None:
        log.info("%s, %s, batching %s", model, transport, batching)
        load = self._load(endpoint, model, transport, data, output)
        file = self._settings.csv / f"{model}.{transport}.batching-{batching}.csv"
        for reading in self._program.measure(load, file):
            row = {"model": model, "transport": transport, "batching": batching}
            self.rows.append({**row, **reading.as_dict()})

    def _compare(
        self, endpoint: Endpoint, model: str, transport: str, data: Path, output: int
    ) -> None:
        """Triton and this process by turns, with COMPARED_AT requests at a time each."""
        settings = self._settings
        if not endpoint.local:
            self.left_out.append(f"inference in process: {endpoint.grpc} is another machine")
            return
        folder, runtime = settings.repository / model, _runtime(endpoint)
        load = self._load(endpoint, model, transport, data, output, COMPARED_AT)
        rounds = []
        with (
            TemporaryDirectory() as scratch,
            closing(InProcess(folder, runtime, settings.frames)) as in_process,
        ):
            for _ in range(settings.rounds):
                alone = in_process.throughput(COMPARED_AT, settings.window_ms / 1000)
                (served,) = self._program.measure(load, Path(scratch) / "round.csv")
                rounds.append((alone, served.per_second))
                log.info("%s: in process %.1f, Triton %.1f a second", model, *rounds[-1])
        self.against.append(
            {
                "model": model,
                "in_process_by": "TensorRT" if _has_plan(folder) else runtime,
                "transport": transport,
                "concurrency": COMPARED_AT,
                "in_process_per_second": round(median(a for a, _ in rounds), 2),
                "triton_per_second": round(median(b for _, b in rounds), 2),
                "ratio": round(median(b / a for a, b in rounds), 4),
                "rounds": [[round(a, 2), round(b, 2)] for a, b in rounds],
            }
        )

    def _load(
        self, endpoint: Endpoint, model: str, transport: str, data: Path, output: int, only: int = 0
    ) -> Load:
        settings = self._settings
        url = endpoint.http if TRANSPORTS[transport][0] == "http" else endpoint.grpc
        first, last = (only, only) if only else (1, settings.concurrency)
        return Load(model, url, transport, data, output, first, last, settings.window_ms)

    def _requests(self, model: str, folder: Path) -> tuple[Path, int]:
        """The file of real requests for a model, and the bytes of its largest answer."""
        settings, data = self._settings, folder / f"{model}.json"
        if model == FRAME_MODEL:
            write_requests(data, "frame", list(settings.frames))
            return data, max(f.shape[0] * f.shape[1] for f in settings.frames)
        card = read_card(settings.repository / model / "card.json")
        write_requests(data, card.input.name, [t[0] for t in _tensors(card, settings.frames)])
        return data, 4 * card.output.height * card.output.width

    def _can(self, transport: str, endpoint: Endpoint) -> bool:
        """Whether this transport exists here; its reason goes into `left_out` where not."""
        protocol, memory = TRANSPORTS[transport]
        reason = ""
        if protocol == "http" and not endpoint.http:
            reason = "no --http-url"
        elif memory != "none" and not endpoint.local:
            reason = f"{endpoint.grpc} is another machine: nothing is shared with it"
        elif memory != "none":
            reason = endpoint.no_shared_memory() or (_no_cuda() if memory == "cuda" else "")
        if reason:
            self.left_out.append(f"{transport}: {reason}")
        return not reason


@contextmanager
def _own_server(settings: BenchSettings, batching: str) -> Iterator[Endpoint]:
    """A server of our own on free ports; with batching off, on a copy of the repository."""
    models = servable_models(settings.repository, settings.models)
    with TemporaryDirectory() as folder:
        repository = settings.repository
        if batching == "off":
            repository = Path(folder) / "models"
            without_batching(settings.repository, models, repository)
        own = ServerSettings(repository, models, http_port=0, grpc_port=0, metrics_port=0)
        with running_server(own) as server:
            yield own_endpoint(server)


def _remote_models(settings: BenchSettings, endpoint: Endpoint) -> tuple[str, ...]:
    """The models to ask a server that is not ours for: those of our repository that it has."""
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


def _runtime(endpoint: Endpoint) -> str:
    """What computes an ONNX model in process for comparison: as the server does.

    A server of this machine without its program here is one of NVIDIA's, in a container.
    """
    try:
        return served_runtime()
    except UserError:
        if endpoint.ours:
            raise
        return "onnxruntime"


def _has_plan(folder: Path) -> bool:
    return (folder / "1" / "model.plan").is_file()


def _tensors(card: Card, frames: tuple[Frame, ...]) -> list[NDArray[np.float32]]:
    return [frame_to_tensor(f, card.input.height, card.input.width) for f in frames]


def _no_cuda() -> str:
    """Why CUDA shared memory cannot be used here; empty where it can."""
    if look().jetson:
        return "a Jetson shares no CUDA memory between processes (NVIDIA, Triton on Jetson)"
    if shutil.which("nvidia-smi") is None:
        return "no NVIDIA driver on this machine: no nvidia-smi"
    try:
        describe_gpu("rtx")
    except UserError as error:
        return str(error)
    return ""
