"""The server's command line and environment, and the log line that explains a failure."""

from __future__ import annotations

import subprocess
import sys
from collections import deque
from pathlib import Path
from typing import Any

import pytest

from xpnet.errors import UserError
from xpnet.serving.triton_server import ServerSettings, TritonServer

# As tritonserver 2.51 without a driver logs them.
NO_DRIVER = (
    'E1124 18:54:11.169935 14577 server.cc:241] "CudaDriverHelper has not been initialized."'
)
NO_STUB = "Failed to run python backend stub. Errno = 2"
THROWN = "  what():  Failed to create temporary directory for Python environments."
NO_MODEL = (
    "E1124 18:54:12.000000 14577 model_lifecycle.cc:654] \"failed to load 'xpnet_onnx' version 1\""
)


@pytest.mark.parametrize(
    ("log", "reason"),
    [
        ([NO_DRIVER, "", NO_STUB], NO_STUB),
        ([NO_DRIVER, "terminate called after an error", THROWN], THROWN.strip()),
        ([NO_DRIVER, NO_STUB, NO_MODEL], "failed to load 'xpnet_onnx' version 1"),
    ],
)
def test_most_informative_log_line_is_reported(log: list[str], reason: str) -> None:
    server = TritonServer.__new__(TritonServer)
    server._log = deque(log)
    assert server.reason() == reason


def test_server_without_path_gets_a_default_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """Services and cron jobs may start it so; an empty PATH made it wait for 90 s."""
    started: dict[str, Any] = {}

    class Process:
        stdout = open("/dev/null", encoding="utf-8")  # noqa: SIM115

        def __init__(self, _command: list[str], env: dict[str, str], **_: Any) -> None:
            started.update(env)

    monkeypatch.delenv("PATH")
    monkeypatch.setattr(subprocess, "Popen", Process)
    monkeypatch.setattr(
        "xpnet.serving.triton_server.find_tritonserver", lambda: ("server", "backends")
    )
    TritonServer(ServerSettings(http_port=0, grpc_port=0, metrics_port=0))
    first, *others = started["PATH"].split(":")
    assert Path(first) == Path(sys.executable).parent
    assert "/bin" in others


def test_address_of_the_server_is_an_ipv4_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a name, the HTTP service was not reached, and the start failed after 90 s."""
    started: list[str] = []

    class Process:
        stdout = open("/dev/null", encoding="utf-8")  # noqa: SIM115

        def __init__(self, command: list[str], **_: Any) -> None:
            started.extend(command)

    monkeypatch.setattr(subprocess, "Popen", Process)
    monkeypatch.setattr(
        "xpnet.serving.triton_server.find_tritonserver", lambda: ("server", "backends")
    )
    ports = {"http_port": 0, "grpc_port": 0, "metrics_port": 0}
    server = TritonServer(ServerSettings(host="localhost", **ports))
    assert server.http_url.startswith("127.0.0.1:")
    assert "--http-address=127.0.0.1" in started
    assert not any("shared-memory" in word for word in started)  # it is open to this machine only
    for address in ("::1", "[::1]"):
        with pytest.raises(UserError, match=r"no IPv4 address is known .* give another address"):
            TritonServer(ServerSettings(host=address, **ports))
