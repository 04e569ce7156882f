"""tritonserver as a child process: start, wait until ready, stop, explain failures."""

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
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from xpnet.addresses import open_directly
from xpnet.checksums import check_file
from xpnet.errors import UserError
from xpnet.host.processes import end_with_parent, lower_priority
from xpnet.paths import BUNDLED_TRITON, MODEL_REPOSITORY, card_path, server_command
from xpnet.serving.model_repository import servable_models, weights_path
from xpnet.tensorrt.plan_check import check_plan

log = logging.getLogger("xpnet.serving")

HOST = "127.0.0.1"
RESTRICTED = "model-repository,logging,trace"
REASONS = (
    r"failed to load '",
    r"Failed to run python backend",
    r"what\(\):",  # an exception that ended the server
    r"^E\d{4} (?!.*CudaDriverHelper)",  # printed on every machine without a driver
    r"rror",
    r".",
)
"""Patterns for lines of the server's log, the most informative first."""
ADMINISTRATOR_HEADER = "xpnet-key"
READY_TIMEOUT_S = 90.0
STOP_TIMEOUT_S = 10.0


@dataclass(frozen=True)
class ServerSettings:
    """Where the server listens and what it serves. Port 0 takes a free port.

    Attributes:
        max_connection_age_s: Clients are told to connect again after so many seconds, which moves
            them to new servers behind the same address; 0 for never.
        low_priority: Whether it leaves most of a core to others that want it, such as a picture.
    """

    repository: Path = MODEL_REPOSITORY
    models: tuple[str, ...] = ()  # empty: every model whose weights are present
    host: str = HOST  # any other address opens the server to the network
    http_port: int = 8000
    grpc_port: int = 8001
    metrics_port: int = 8002
    max_connection_age_s: int = 0
    low_priority: bool = False


class TritonServer:
    """A running server; made by `running_server`.

    Attributes:
        http_url: HOST:PORT of the HTTP service.
        grpc_url: HOST:PORT of the gRPC service.
        metrics_url: HOST:PORT of the metrics.
        models: Names of the served models.
        shm_prefix: Prefix of the names of its shared memory regions.
        administrator_key: What a request must have in the header ADMINISTRATOR_HEADER to load and
            unload models.
    """

    def __init__(self, settings: ServerSettings) -> None:
        binary, backends = find_tritonserver()
        self.shm_prefix = f"xpnet-triton-{secrets.token_hex(4)}"
        self.models = servable_models(settings.repository, settings.models)
        for name in self.models:
            weights = weights_path(settings.repository, name)
            # NVIDIA's C++ backends load the files themselves.
            for file in (weights, card_path(settings.repository / name)):
                check_file(file)
            if weights.suffix == ".plan":
                check_plan(settings.repository / name)
        host = _ipv4_address(settings.host)
        ports = {
            "http": _port(host, settings.http_port),
            "grpc": _port(host, settings.grpc_port),
            "metrics": _port(host, settings.metrics_port),
        }
        self.http_url, self.grpc_url, self.metrics_url = (
            f"{host}:{port}" for port in ports.values()
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
        # Loading a model can run code, and changing the log settings can write files. Clients need
        # neither, so both require a key that no client is given.
        self.administrator_key = secrets.token_hex(16)
        closed = RESTRICTED if host == HOST else f"{RESTRICTED},shared-memory"
        command += [
            f"--http-restricted-api={closed}:{ADMINISTRATOR_HEADER}={self.administrator_key}",
            f"--grpc-restricted-protocol={closed}:{ADMINISTRATOR_HEADER}={secrets.token_hex(16)}",
        ]
        if settings.max_connection_age_s:
            command.append(f"--grpc-max-connection-age={settings.max_connection_age_s * 1000}")
        for service, port in ports.items():
            command += [f"--{service}-address={host}", f"--{service}-port={port}"]
        # The Python backend's stub runs the first python3 on PATH: it must be ours.
        paths = [str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]
        self._process = subprocess.Popen(
            end_with_parent(command),
            env=os.environ | {"PATH": os.pathsep.join(paths)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,  # Ctrl-C reaches this process, which stops the server in order
        )
        if settings.low_priority:
            lower_priority(self._process.pid)
        self._log: deque[str] = deque(maxlen=400)
        assert self._process.stdout is not None
        self._reader = threading.Thread(
            target=self._read, args=(self._process.stdout,), daemon=True
        )
        self._reader.start()

    def wait_until_ready(self, timeout_s: float = READY_TIMEOUT_S) -> None:
        """Wait until every model is ready.

        Args:
            timeout_s: Longest wait in seconds.

        Raises:
            UserError: The server ended or was not ready in time; the message contains its reason.
        """
        deadline = time.monotonic() + timeout_s
        while not self.is_ready():
            if self._process.poll() is not None:
                self._reader.join(timeout=2)
                raise UserError(f"tritonserver ended while starting: {self.reason()}")
            if time.monotonic() > deadline:
                raise UserError(f"tritonserver not ready after {timeout_s:g} s: {self.reason()}")
            time.sleep(0.1)

    def is_ready(self) -> bool:
        """Return whether the server and all its models answer that they are ready."""
        return all(
            _http_ok(f"http://{self.http_url}/v2/{path}")
            for path in ("health/ready", *(f"models/{m}/ready" for m in self.models))
        )

    def ended(self) -> bool:
        """Return whether the process has ended."""
        return self._process.poll() is not None

    def reason(self) -> str:
        """Return the line of the server's log that best explains a failure."""
        lines = list(self._log)
        for pattern in REASONS:
            for line in lines:
                if re.search(pattern, line):
                    return _strip_log_prefix(line)
        return f"exit code {self._process.poll()}, no output"

    def describe_exit(self) -> str:
        """Return the signal or exit code that ended the server, and its reason."""
        code = self._process.wait()
        if code < 0:
            return f"killed by {signal.Signals(-code).name}"
        return f"exit code {code}: {self.reason()}"

    @property
    def process_group(self) -> int:
        """Process group of the server and its stubs."""
        return self._process.pid

    def stop(self) -> None:
        """Stop the server, by force if it does not stop in time; safe to call twice."""
        try:
            if self._process.poll() is None:
                self._process.terminate()
                self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            log.warning("tritonserver did not stop within %g s: killed", STOP_TIMEOUT_S)
        finally:
            self.kill()

    def kill(self) -> None:
        """Kill the server and its stubs at once, and release their shared memory."""
        with suppress(ProcessLookupError):
            os.killpg(self.process_group, signal.SIGKILL)
        self._process.wait()
        for region in Path("/dev/shm").glob(f"{self.shm_prefix}*"):
            region.unlink(missing_ok=True)

    def _read(self, stream: IO[str]) -> None:
        for line in stream:
            self._log.append(line.rstrip())
            log.debug("tritonserver: %s", line.rstrip())


@contextmanager
def running_server(settings: ServerSettings) -> Iterator[TritonServer]:
    """Start a server, wait until every model is ready, and stop it at the end of the `with` block.

    Args:
        settings: Addresses and models.

    Raises:
        UserError: No tritonserver, no such model, a port in use, or a model that does not load.
    """
    server = TritonServer(settings)
    try:
        server.wait_until_ready()
        yield server
    finally:
        server.stop()


def find_tritonserver() -> tuple[Path, Path]:
    """Return the server's binary and its backend directory; NVIDIA's own server is preferred.

    Raises:
        UserError: No server is installed.
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
    raise UserError(f"tritonserver is not installed: {server_command()}")


def port_of(url: str) -> int:
    """Return the port of HOST:PORT."""
    return int(url.rpartition(":")[2])


def _ipv4_address(host: str) -> str:
    """Return the address of a host. Triton's HTTP service knows no names and no IPv6.

    Given a name, it listens on 255.255.255.255, and nothing reaches it. Raises UserError if there
    is no such address.
    """
    try:
        return socket.gethostbyname(host)
    except (OSError, UnicodeError) as error:
        raise UserError(
            f"{host}: no IPv4 address is known for it ({error}), and Triton listens on no other; "
            "give another address"
        ) from error


def _port(host: str, port: int) -> int:
    """Return `port`, or a free one for 0. Raises UserError if it cannot be listened on."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except (OSError, OverflowError) as error:
            reason = error.strerror if isinstance(error, OSError) else "no port number"
            raise UserError(
                f"{host}:{port} cannot be listened on: {reason}; give another port"
            ) from error
        return int(probe.getsockname()[1])


def _http_ok(url: str) -> bool:
    try:
        with open_directly(url, 2) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _strip_log_prefix(line: str) -> str:
    """Return a log line without Triton's severity, time, thread and source position."""
    return re.sub(r"^[EWI]\d{4} [\d:.]+ \d+ [\w.]+:\d+\] ", "", line).strip().strip('"')
