"""The real tritonserver as a child process: started, awaited, stopped, its failures named."""

from __future__ import annotations

import logging
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from xpnet.errors import UserError
from xpnet.host.processes import die_with_parent
from xpnet.paths import BUNDLED_TRITON, MODEL_REPOSITORY
from xpnet.serving.model_repository import servable_models, weights_path
from xpnet.tensorrt.plan_check import check_plan

log = logging.getLogger("xpnet.serving")

HOST = "127.0.0.1"
RESTRICTED = "model-repository,logging,trace"
REASONS = (
    r"failed to load '",
    r"Failed to run python backend",
    r"^E\d{4} (?!.*CudaDriverHelper)",  # which every machine without a driver says
    r"rror",
    r".",
)
"""Lines of the server's log, the one that tells most first."""
READY_TIMEOUT_S = 90.0
STOP_TIMEOUT_S = 10.0


@dataclass(frozen=True)
class ServerSettings:
    """Where the server listens and what it serves. Port 0 takes a free one."""

    repository: Path = MODEL_REPOSITORY
    models: tuple[str, ...] = ()  # empty: every model whose weights are there
    host: str = HOST  # anything else opens the server to the network
    http_port: int = 8000
    grpc_port: int = 8001
    metrics_port: int = 8002


class TritonServer:
    """A running server; made by `running_server`.

    Attributes:
        http_url, grpc_url, metrics_url: HOST:PORT each.
        models: the names it serves.
        shm_prefix: how the names of its own shared memory begin.
    """

    def __init__(self, settings: ServerSettings) -> None:
        binary, backends = find_tritonserver()
        self.shm_prefix = f"xpnet-triton-{secrets.token_hex(4)}"
        self.models = servable_models(settings.repository, settings.models)
        for name in self.models:
            if weights_path(settings.repository, name).suffix == ".plan":
                check_plan(settings.repository / name)
        ports = {
            "http": _port(settings.host, settings.http_port),
            "grpc": _port(settings.host, settings.grpc_port),
            "metrics": _port(settings.host, settings.metrics_port),
        }
        self.http_url, self.grpc_url, self.metrics_url = (
            f"{settings.host}:{port}" for port in ports.values()
        )
        command = [
            str(binary),
            f"--model-repository={settings.repository}",
            f"--backend-directory={backends}",
            "--model-control-mode=explicit",
            *(f"--load-model={name}" for name in self.models),
            "--exit-timeout-secs=5",
            f"--backend-config=python,shm-region-prefix-name={self.shm_prefix}",
        ]
        # Who may load a model may run code, and who may set the log may write files: nobody who
        # talks to the ports needs either, so they ask for a key that no client is told.
        closed = RESTRICTED if settings.host == HOST else f"{RESTRICTED},shared-memory"
        command += [
            f"--http-restricted-api={closed}:xpnet-key={secrets.token_hex(16)}",
            f"--grpc-restricted-protocol={closed}:xpnet-key={secrets.token_hex(16)}",
        ]
        for service, port in ports.items():
            command += [f"--{service}-address={settings.host}", f"--{service}-port={port}"]
        # The Python backend's stub takes the first python3 on PATH: it must be ours.
        paths = [str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]
        self._process = subprocess.Popen(
            command,
            env=os.environ | {"PATH": os.pathsep.join(paths)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,  # Ctrl-C reaches us; we stop the server in order
            preexec_fn=die_with_parent,
        )
        self._log: deque[str] = deque(maxlen=400)
        assert self._process.stdout is not None
        self._reader = threading.Thread(
            target=self._read, args=(self._process.stdout,), daemon=True
        )
        self._reader.start()

    def wait_until_ready(self, timeout_s: float = READY_TIMEOUT_S) -> None:
        """Returns when every model is ready.

        Raises:
            UserError: the server ended or was not ready in time; with its own reason.
        """
        deadline = time.monotonic() + timeout_s
        while not self._ready():
            if self._process.poll() is not None:
                self._reader.join(timeout=2)
                raise UserError(f"tritonserver ended while starting: {self.reason()}")
            if time.monotonic() > deadline:
                raise UserError(f"tritonserver not ready after {timeout_s:g} s: {self.reason()}")
            time.sleep(0.1)

    def ended(self) -> bool:
        """Whether the process is gone."""
        return self._process.poll() is not None

    def reason(self) -> str:
        """The line of the server's log that tells best why it does not serve."""
        lines = list(self._log)
        for pattern in REASONS:
            for line in lines:
                if re.search(pattern, line):
                    return _without_prefix(line)
        return f"exit code {self._process.poll()}, no output"

    def how_it_ended(self) -> str:
        """Of a server that is gone: the signal that killed it, or its exit code and its reason."""
        code = self._process.wait()
        if code < 0:
            return f"killed by {signal.Signals(-code).name}"
        return f"exit code {code}: {self.reason()}"

    @property
    def process_group(self) -> int:
        """Of the server and its stubs, for signals to all of them."""
        return self._process.pid

    def stop(self) -> None:
        """Asks the server to stop, then makes it; safe to call twice."""
        try:
            if self._process.poll() is None:
                self._process.terminate()
                self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            log.warning("tritonserver did not stop within %g s: killed", STOP_TIMEOUT_S)
        finally:
            self.kill()

    def kill(self) -> None:
        """Ends it at once, as a crash would, with its stubs, and frees what they shared."""
        with suppress(ProcessLookupError):
            os.killpg(self.process_group, signal.SIGKILL)
        self._process.wait()
        for region in Path("/dev/shm").glob(f"{self.shm_prefix}*"):
            region.unlink(missing_ok=True)

    def _ready(self) -> bool:
        return all(
            _http_ok(f"http://{self.http_url}/v2/{path}")
            for path in ("health/ready", *(f"models/{m}/ready" for m in self.models))
        )

    def _read(self, stream: IO[str]) -> None:
        for line in stream:
            self._log.append(line.rstrip())
            log.debug("tritonserver: %s", line.rstrip())


@contextmanager
def running_server(settings: ServerSettings) -> Iterator[TritonServer]:
    """Starts the server, waits until every model is ready, stops it at the end.

    Raises:
        UserError: no tritonserver, no such model, a taken port, or a model that does not load.
    """
    server = TritonServer(settings)
    try:
        server.wait_until_ready()
        yield server
    finally:
        server.stop()


def find_tritonserver() -> tuple[Path, Path]:
    """The server's binary and its backend directory: NVIDIA's own where there is one.

    Raises:
        UserError: neither is installed.
    """
    on_path = shutil.which("tritonserver") or shutil.which(
        "tritonserver", path="/opt/tritonserver/bin"
    )
    if on_path:
        binary = Path(on_path).resolve()
        return binary, binary.parents[1] / "backends"
    binary = BUNDLED_TRITON / "bin" / "tritonserver"
    if binary.is_file():
        return binary, BUNDLED_TRITON / "backends"
    raise UserError("tritonserver is not installed: run scripts/setup.sh")


def _port(host: str, port: int) -> int:
    """`port`, or a free one for 0. Raises UserError where it is taken."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except (OSError, OverflowError) as error:
            reason = error.strerror if isinstance(error, OSError) else "no port number"
            which = "address" if isinstance(error, socket.gaierror) else "port"
            raise UserError(
                f"{host}:{port} cannot be listened on: {reason}; give another {which}"
            ) from error
        return int(probe.getsockname()[1])


def _http_ok(url: str) -> bool:
    try:
        # No proxy: a machine-wide one would send a loopback request away.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(url, timeout=2) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _without_prefix(line: str) -> str:
    """A log line without Triton's severity, time, thread and source position."""
    return re.sub(r"^[EWI]\d{4} [\d:.]+ \d+ [\w.]+:\d+\] ", "", line).strip().strip('"')
