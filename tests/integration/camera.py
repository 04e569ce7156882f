"""An RTSP camera for tests that can be disconnected."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

from deepstream.io.file_camera import READY


class Camera:
    """An RTSP camera in a process of its own that can be disconnected."""

    def __init__(self, clip: Path) -> None:
        self.port, self.clip = free_tcp_port(), clip
        self.address = f"rtsp://127.0.0.1:{self.port}/scope"
        self.plug()

    def plug(self) -> None:
        command = [sys.executable, "-m", "deepstream.io.file_camera", str(self.port)]
        self.process = subprocess.Popen([*command, str(self.clip)], stdout=subprocess.PIPE)
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == f"{READY}\n".encode()

    def unplug(self) -> None:
        self.process.kill()
        self.process.communicate()


def free_tcp_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
