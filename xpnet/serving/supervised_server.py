"""A tritonserver that is started again if it ends or hangs, at the same addresses.

Triton's Python-based backend declares its process unhealthy if it gives no sign of life for a
second, which a loaded machine can cause. If the process then goes on, the whole server can end
(SIGSEGV in libtriton_python.so of Triton 2.51). Clients connect again by themselves.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from xpnet.errors import UserError
from xpnet.serving.triton_server import READY_TIMEOUT_S, ServerSettings, TritonServer, port_of

log = logging.getLogger("xpnet.serving")

POLL_S = 0.5
HANG_S = 12.0
"""A server that gives no answer or no result for so long is killed; longer than a client waits for
a result."""
CLIENT_S = 3.0
"""Time for the client to find a new server before its failure counts again."""
MAX_PAUSE_S = 30.0
"""Longest pause between two attempts to start a server that does not start."""


class SupervisedServer:
    """A running server that is replaced when it fails; made by `supervised_server`.

    Attributes:
        restarts: How often the server was replaced.
        last_reason: Why it was replaced the last time; empty for never.
        failing_s: Returns for how many seconds its client got no result; 0 while it gets them. A
            server whose backend died still answers that it is ready.
    """

    def __init__(self, settings: ServerSettings) -> None:
        self._server = TritonServer(settings)
        self._settings = replace(
            settings,
            http_port=port_of(self._server.http_url),
            grpc_port=port_of(self._server.grpc_url),
            metrics_port=port_of(self._server.metrics_url),
        )
        self.restarts, self.last_reason = 0, ""
        self.failing_s: Callable[[], float] = float
        self._stopping = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name="triton-watch", daemon=True)

    @property
    def grpc_url(self) -> str:
        """HOST:PORT of the gRPC service; it stays the same."""
        return self._server.grpc_url

    @property
    def process_group(self) -> int:
        """Process group of the server that runs now, and of its stubs."""
        return self._server.process_group

    def start(self) -> None:
        """Wait until the first server is ready, then watch it.

        Raises:
            UserError: The server ended or was not ready in time.
        """
        self._server.wait_until_ready()
        self._watcher.start()

    def stop(self) -> None:
        """Stop watching and stop the server; safe to call twice."""
        self._stopping.set()
        self._server.stop()
        if self._watcher.is_alive():
            self._watcher.join(READY_TIMEOUT_S)
            self._server.stop()  # one that was started meanwhile

    def _watch(self) -> None:
        answered = time.monotonic()
        while not self._stopping.wait(POLL_S):
            if self._server.ended():
                self._replace(self._server.describe_exit())
            elif self.failing_s() > HANG_S:
                self._replace(f"no result for {HANG_S:g} s")
            elif self._server.is_ready():
                answered = time.monotonic()
                continue
            elif time.monotonic() - answered > HANG_S:
                self._replace(f"no answer for {HANG_S:g} s")
            else:
                continue
            answered = time.monotonic()

    def _replace(self, reason: str) -> None:
        """Start servers until one is ready, or until `stop`."""
        self._server.kill()
        pause_s = POLL_S
        while not self._stopping.is_set():
            log.warning("tritonserver at %s: %s; starting it again", self.grpc_url, reason)
            try:
                self._server = TritonServer(self._settings)
                self._server.wait_until_ready()
            except (UserError, OSError) as error:  # no memory for a process, say
                reason = str(error)
                self._server.kill()
                self._stopping.wait(pause_s)
                pause_s = min(2 * pause_s, MAX_PAUSE_S)
            else:
                self.restarts, self.last_reason = self.restarts + 1, reason
                self._stopping.wait(CLIENT_S)
                return


@contextmanager
def supervised_server(settings: ServerSettings) -> Iterator[SupervisedServer]:
    """Start a server, replace it whenever it fails, and stop it at the end of the `with` block.

    Args:
        settings: Addresses and models.

    Raises:
        UserError: As `xpnet.serving.triton_server.running_server`, for the first start.
    """
    server = SupervisedServer(settings)
    try:
        server.start()
        yield server
    finally:
        server.stop()
