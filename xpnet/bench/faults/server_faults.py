"""Faults of the server: killed, frozen, restarted, its model unloaded, answers wrong or slow."""

from __future__ import annotations

import http.client
import os
import shutil
import signal
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from xpnet.addresses import open_directly
from xpnet.bench.faults.injection import RESTART_S, FaultSettings, Injection, run_with_server
from xpnet.bench.live_run import POLL_S, LiveRun, live_run
from xpnet.errors import UserError
from xpnet.files import write_text
from xpnet.host.processes import children
from xpnet.paths import MODEL_REPOSITORY
from xpnet.serving.model_config import DEFAULT_MODEL, parse_config
from xpnet.serving.triton_server import (
    ADMINISTRATOR_HEADER,
    ServerSettings,
    TritonServer,
    port_of,
)

FAULTY_MODEL = "xpnet.bench.faults.faulty_model"
"""What Triton imports by name."""
Opened = Callable[[FaultSettings], AbstractContextManager[Injection]]


class _OwnServer(Injection):
    """A signal to the server that the run has started, and starts again by itself."""

    def __init__(self, run: LiveRun, harm: signal.Signals) -> None:
        super().__init__(run)
        self._harm = harm

    def inject(self) -> None:
        self._server = self._find_server()
        os.killpg(self._server, self._harm)

    def end(self) -> None:
        """Wait until the run's new server is ready: the cause has ended."""
        deadline = time.monotonic() + RESTART_S
        while time.monotonic() < deadline:
            found = self._find_server()
            if found not in (0, self._server) and _is_ready(_http_port(found)):
                return
            time.sleep(POLL_S)
        raise UserError(f"no new tritonserver within {RESTART_S:g} s: {self.run.last_line()}")

    def _find_server(self) -> int:
        for process in children(self.run.pid):
            if _http_port(process):
                return process
        return 0


def _http_port(process: int) -> int:
    """Return the HTTP port of a tritonserver; 0 for another process, or one that has ended."""
    try:
        command = Path(f"/proc/{process}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return 0
    ports = [part.partition(b"=")[2] for part in command if part.startswith(b"--http-port=")]
    return int(ports[0]) if ports else 0


def _is_ready(port: int) -> bool:
    try:
        with open_directly(f"http://127.0.0.1:{port}/v2/models/{DEFAULT_MODEL}/ready", 1) as answer:
            return bool(answer.status == 200)
    except (OSError, http.client.HTTPException):
        return False


def own_server(harm: signal.Signals) -> Opened:
    """Return what opens a run with a server of its own.

    Args:
        harm: The signal that its server gets.
    """

    @contextmanager
    def opened(settings: FaultSettings) -> Iterator[Injection]:
        with live_run(settings.source, settings.options) as run:
            yield _OwnServer(run, harm)

    return opened


class _Restarted(Injection):
    """A server of somebody else that is stopped, and started again at the same address."""

    def __init__(self, run: LiveRun, server: TritonServer) -> None:
        super().__init__(run)
        self._server = server
        self._same = ServerSettings(
            MODEL_REPOSITORY, (DEFAULT_MODEL,),
            http_port=port_of(server.http_url), grpc_port=port_of(server.grpc_url),
            metrics_port=port_of(server.metrics_url),
        )  # fmt: skip

    def inject(self) -> None:
        self._stopping = threading.Thread(target=self._server.stop)
        self._stopping.start()

    def end(self) -> None:
        super().end()
        self._stopping.join()
        self._server = TritonServer(self._same)
        self._server.wait_until_ready()

    def close(self) -> None:
        self._server.stop()


@contextmanager
def restarted_server(settings: FaultSettings) -> Iterator[Injection]:
    """Open a run with a server that is restarted."""
    with run_with_server(settings) as (run, server):
        injection = _Restarted(run, server)
        try:
            yield injection
        finally:
            injection.close()


class _Unloaded(Injection):
    """A model that the server's administrator unloads and loads again."""

    def __init__(self, run: LiveRun, server: TritonServer) -> None:
        super().__init__(run)
        self._server = server

    def inject(self) -> None:
        self._ask("unload")

    def end(self) -> None:
        super().end()
        self._ask("load")  # answers when the model is ready

    def _ask(self, what: str) -> None:
        address = f"http://{self._server.http_url}/v2/repository/models/{DEFAULT_MODEL}/{what}"
        key = {ADMINISTRATOR_HEADER: self._server.administrator_key}
        request = urllib.request.Request(address, b"{}", key, method="POST")
        with open_directly(request, RESTART_S):
            pass


@contextmanager
def unloaded_model(settings: FaultSettings) -> Iterator[Injection]:
    """Open a run whose model is unloaded."""
    with run_with_server(settings) as (run, server):
        yield _Unloaded(run, server)


class _WrongAnswers(Injection):
    """Answers that are no probabilities, or come late."""

    def __init__(self, run: LiveRun, file: Path, faults: tuple[str, ...]) -> None:
        super().__init__(run)
        self._file, self._faults, self._count = file, faults, 0

    def inject(self) -> None:
        write_text(self._file, self._faults[self._count % len(self._faults)])
        self._count += 1

    def end(self) -> None:
        super().end()
        self._file.unlink()


def faulty_answers(*faults: str) -> Opened:
    """Return what opens a run with a server whose answers can be made wrong.

    Args:
        faults: Of xpnet.bench.faults.answer_faults; injected by turns.
    """

    @contextmanager
    def opened(settings: FaultSettings) -> Iterator[Injection]:
        with tempfile.TemporaryDirectory(prefix="xpnet-faulty-") as folder:
            repository = Path(folder)
            file = _write_faulty_model(repository)
            options = ("--repository", folder)
            with run_with_server(settings, repository, options) as (run, _):
                yield _WrongAnswers(run, file, faults)

    return opened


def _write_faulty_model(repository: Path) -> Path:
    """Write a model repository with the faulty model; return the file that switches its faults."""
    from google.protobuf import text_format

    source, copy = MODEL_REPOSITORY / DEFAULT_MODEL, repository / DEFAULT_MODEL
    shutil.copytree(source, copy)
    config = parse_config(source / "config.pbtxt")
    config.backend = "python"
    config.ClearField("default_model_filename")
    write_text(copy / "config.pbtxt", text_format.MessageToString(config))
    write_text(copy / "1" / "model.py", f"from {FAULTY_MODEL} import TritonPythonModel\n")
    return copy / "fault"
