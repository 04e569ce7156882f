"""The faults of `xpnet bench faults`."""

from __future__ import annotations

import contextlib
import http.client
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from xpnet.addresses import open_directly
from xpnet.bench.answer_faults import NOT_A_NUMBER, SLOW, TOO_LARGE
from xpnet.bench.faults import NOTICE_S, Fault, FaultSettings, seeded
from xpnet.bench.live_run import LiveRun, live_run
from xpnet.bench.random_messages import send_random_messages
from xpnet.errors import UserError
from xpnet.files import write_text
from xpnet.host.processes import children, end_with_parent
from xpnet.paths import MODEL_REPOSITORY
from xpnet.serving.model_config import DEFAULT_MODEL, parse_config
from xpnet.serving.triton_server import (
    ADMINISTRATOR_HEADER,
    ServerSettings,
    TritonServer,
    port_of,
    running_server,
)

HOLD_S = 1.5
"""How long a fault lasts after it was noticed, where the benchmark decides."""
RESTART_S = 60.0
"""Longest wait for a server or camera that comes back."""
POLL_S = 0.02
ROUTES = (
    "/",
    "/state",
    "/health",
    "/metrics",
    "/preview.jpg",
    "/still.png",
    "/settings",
    "/recorder",
)
MESSAGES = 100
"""Random messages to each route in one injection: a thousand in ten."""
SHIFTED_CLOCK = Path(__file__).with_name("shifted_clock.c")


def has_no_masks(state: dict[str, Any]) -> bool:
    """Return whether the state says that there are no recent masks."""
    return bool(state["assistant"] == "not available")


class _Injection:
    """Base of the faults: one run, and by default a fault that shows as missing masks."""

    is_noticed: Callable[[dict[str, Any]], bool] | None = staticmethod(has_no_masks)

    def __init__(self, run: LiveRun) -> None:
        self.run = run

    def inject(self) -> None:
        raise NotImplementedError

    def end(self) -> None:
        time.sleep(HOLD_S)


class _OwnServer(_Injection):
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


def own_server(harm: signal.Signals) -> Callable[[FaultSettings], Any]:
    """Return what opens a run with a server of its own.

    Args:
        harm: The signal that its server gets.
    """

    @contextmanager
    def opened(settings: FaultSettings) -> Iterator[_Injection]:
        with live_run(f"live:{settings.clip}", settings.size) as run:
            yield _OwnServer(run, harm)

    return opened


class _Restarted(_Injection):
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
def restarted_server(settings: FaultSettings) -> Iterator[_Injection]:
    """Open a run with a server that is restarted."""
    with running_server(_anywhere(MODEL_REPOSITORY)) as server:
        options = (*settings.size, "--url", server.grpc_url)
        with live_run(f"live:{settings.clip}", options) as run:
            injection = _Restarted(run, server)
            try:
                yield injection
            finally:
                injection.close()


def _anywhere(repository: Path) -> ServerSettings:
    return ServerSettings(repository, (DEFAULT_MODEL,), http_port=0, grpc_port=0, metrics_port=0)


class _Unloaded(_Injection):
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


class _WrongAnswers(_Injection):
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


@contextmanager
def unloaded_model(settings: FaultSettings) -> Iterator[_Injection]:
    """Open a run whose model is unloaded."""
    with running_server(_anywhere(MODEL_REPOSITORY)) as server:
        options = (*settings.size, "--url", server.grpc_url)
        with live_run(f"live:{settings.clip}", options) as run:
            yield _Unloaded(run, server)


def faulty_answers(*faults: str) -> Callable[[FaultSettings], Any]:
    """Return what opens a run with a server whose answers can be made wrong.

    Args:
        faults: Of xpnet.bench.answer_faults; injected by turns.
    """

    @contextmanager
    def opened(settings: FaultSettings) -> Iterator[_Injection]:
        with tempfile.TemporaryDirectory(prefix="xpnet-faulty-") as folder:
            repository = Path(folder)
            file = _write_faulty_model(repository)
            with running_server(_anywhere(repository)) as server:
                options = (*settings.size, "--url", server.grpc_url, "--repository", folder)
                with live_run(f"live:{settings.clip}", options) as run:
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
    write_text(copy / "1" / "model.py", "from xpnet.bench.faulty_model import TritonPythonModel\n")
    return copy / "fault"


class _Unplugged(_Injection):
    """A camera whose process is killed, and started again."""

    is_noticed = staticmethod(lambda state: state["source"] == "lost")

    def __init__(self, run: LiveRun, camera: _Camera) -> None:
        super().__init__(run)
        self._camera = camera

    def inject(self) -> None:
        self._camera.unplug()

    def end(self) -> None:
        super().end()
        self._camera.plug()


class _Camera:
    def __init__(self, clip: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        self.address, self._clip = f"rtsp://127.0.0.1:{self._port}/scope", clip
        self.plug()

    def plug(self) -> None:
        command = [
            sys.executable, "-m", "deepstream.io.file_camera", str(self._port), str(self._clip)
        ]  # fmt: skip
        self._process = subprocess.Popen(end_with_parent(command), stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        if not self._process.stdout.readline():
            raise UserError("the RTSP camera does not start: apt install "
                            "gir1.2-gst-rtsp-server-1.0")  # fmt: skip

    def unplug(self) -> None:
        self._process.kill()
        self._process.communicate()


@contextmanager
def unplugged_camera(settings: FaultSettings) -> Iterator[_Injection]:
    """Open a run of an RTSP camera that goes away."""
    camera = _Camera(settings.clip)
    try:
        with live_run(camera.address, settings.size) as run:
            yield _Unplugged(run, camera)
    finally:
        camera.unplug()


class _CorruptSettings(_Injection):
    """A settings file that is overwritten with noise; the next change of settings replaces it."""

    is_noticed = None

    def __init__(self, run: LiveRun) -> None:
        super().__init__(run)
        self._chosen, self._count = seeded(), 0

    def inject(self) -> None:
        file = self.run.settings_file
        file.write_bytes(self._chosen.randbytes(200))
        self._count += 1
        opacity = self._count / 1000  # another value each time: only a change is saved
        body = f'{{"opacity": {opacity}}}'.encode()
        request = urllib.request.Request(
            f"{self.run.address}/settings", body, {"Content-Type": "application/json"}
        )
        with open_directly(request, 5):
            pass
        if f'"opacity": {opacity}' not in file.read_text(encoding="utf-8"):
            raise UserError(f"{file}: was not replaced after it was damaged")


@contextmanager
def corrupt_settings(settings: FaultSettings) -> Iterator[_Injection]:
    """Open a run that starts with a corrupt settings file."""
    noise = seeded().randbytes(200).decode("latin-1")
    with live_run(f"live:{settings.clip}", settings.size, noise) as run:
        yield _CorruptSettings(run)


class _ClockSetBack(_Injection):
    """The machine's clock, as the run sees it, goes back by an hour each time."""

    is_noticed = None

    def __init__(self, run: LiveRun, file: Path) -> None:
        super().__init__(run)
        self._file, self._hours = file, 0

    def inject(self) -> None:
        self._hours += 1
        write_text(self._file, str(-3600 * self._hours))


@contextmanager
def clock_set_back(settings: FaultSettings) -> Iterator[_Injection]:
    """Open a run whose wall clock is set back; a library of ours stands between it and the clock.

    The machine's own clock is not touched. The server has it: a wait until a time, as Triton's
    Python backend makes many, follows the kernel's clock, which cannot be shifted for one process.
    """
    with tempfile.TemporaryDirectory(prefix="xpnet-clock-") as folder:
        library, file = Path(folder, "shifted_clock.so"), Path(folder, "shift")
        command = ["cc", "-shared", "-fPIC", "-O2", "-o", str(library), str(SHIFTED_CLOCK)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise UserError(f"{SHIFTED_CLOCK}: cannot be compiled: {done.stderr.strip()}")
        write_text(file, "0")
        environ = {"LD_PRELOAD": str(library), "XPNET_CLOCK_SHIFT": str(file)}
        with running_server(_anywhere(MODEL_REPOSITORY)) as server:
            options = (*settings.size, "--url", server.grpc_url)
            with live_run(f"live:{settings.clip}", options, environ=environ) as run:
                yield _ClockSetBack(run, file)


class _DiskFull(_Injection):
    """A disk that is filled while a recording runs, and freed again."""

    is_noticed = staticmethod(lambda state: bool(state["recorder"]["failure"]))

    def __init__(self, run: LiveRun, folder: Path) -> None:
        super().__init__(run)
        self._folder, self._filler = folder, folder / "filler"

    def inject(self) -> None:
        self._record()
        with contextlib.suppress(OSError), self._filler.open("wb", buffering=0) as stream:
            while True:
                stream.write(bytes(2**16))

    def end(self) -> None:
        """Free the disk, and wait until a recording runs again."""
        super().end()
        for path in [self._filler, *self._folder.glob("*.mkv")]:
            path.unlink()
        self._record()
        self._ask("stop")
        self.run.wait_until(lambda state: not state["recorder"]["recording"], RESTART_S)

    def _record(self) -> None:
        self._ask("start")
        if self.run.wait_until(lambda state: state["recorder"]["seconds"] > 0, NOTICE_S) is None:
            raise UserError(f"no recording within {NOTICE_S:g} s: {self.run.last_line()}")

    def _ask(self, action: str) -> None:
        body = f'{{"action": "{action}"}}'.encode()
        request = urllib.request.Request(
            f"{self.run.address}/recorder", body, {"Content-Type": "application/json"}
        )
        with open_directly(request, 5):
            pass


@contextmanager
def full_disk(settings: FaultSettings) -> Iterator[_Injection]:
    """Open a run that records to a small disk in memory, which is mounted for it."""
    with tempfile.TemporaryDirectory(prefix="xpnet-disk-") as folder:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", folder], check=True)
        try:
            options = (*settings.size, "--record", folder, "--record-reserve", "0")
            with live_run(f"live:{settings.clip}", options) as run:
                yield _DiskFull(run, Path(folder))
        finally:
            subprocess.run(["umount", "--lazy", folder], check=True)


def cannot_mount() -> str:
    """Return why no disk can be mounted for `full_disk`; empty if one can."""
    with tempfile.TemporaryDirectory(prefix="xpnet-disk-") as folder:
        mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder]
        if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
            return "mounting a small disk needs root"
        subprocess.run(["umount", folder], check=True)
    return ""


class _RandomMessages(_Injection):
    """Messages that no client should send, to each route of the run's HTTP service."""

    is_noticed = None

    def __init__(self, run: LiveRun) -> None:
        super().__init__(run)
        self._chosen: random.Random = seeded()

    def inject(self) -> None:
        port = int(self.run.address.rpartition(":")[2])
        for path in ROUTES:
            send_random_messages(port, path, MESSAGES, self._chosen)

    def end(self) -> None:
        """Do nothing: the messages are over when `inject` returns."""


@contextmanager
def random_messages(settings: FaultSettings) -> Iterator[_Injection]:
    """Open a run that gets random messages."""
    with live_run(f"live:{settings.clip}", settings.size) as run:
        yield _RandomMessages(run)


FAULTS = [
    Fault("server killed", own_server(signal.SIGKILL)),
    Fault("server frozen", own_server(signal.SIGSTOP)),
    Fault("server restarted", restarted_server),
    Fault("model unloaded", unloaded_model),
    Fault("wrong answer", faulty_answers(NOT_A_NUMBER, TOO_LARGE)),
    Fault("slow answer", faulty_answers(SLOW)),
    Fault("source lost", unplugged_camera),
    Fault("disk full", full_disk, cannot_mount),
    Fault("settings file corrupt", corrupt_settings),
    Fault(
        "clock set back",
        clock_set_back,
        lambda: "" if shutil.which("cc") else "a C compiler is missing: apt install gcc libc6-dev",
    ),
    Fault("random messages", random_messages),
]
