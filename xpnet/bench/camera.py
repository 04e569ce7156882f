"""An RTSP camera in a process of its own that can be disconnected."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

from xpnet.errors import UserError


class Camera:
    """A camera that plays a clip again and again; it is plugged in from the start.

    Args:
        clip: The clip.

    Attributes:
        address: Its address, on loopback.

    Raises:
        UserError: It does not start.
    """

    def __init__(self, clip: Path) -> None:
        self._port, self._clip = free_tcp_port(), clip
        self.address = f"rtsp://127.0.0.1:{self._port}/scope"
        self.plug()

    def plug(self) -> None:
        """Start its process, and wait until it is ready.

        Raises:
            UserError: It does not start.
        """
        command = [
            sys.executable, "-m", "deepstream.io.file_camera", str(self._port), str(self._clip)
        ]  # fmt: skip
        # Its input is closed when this process ends. `end_with_parent` would end it with the thread
        # that plugs it in.
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        if not self._process.stdout.readline():
            raise UserError("the RTSP camera does not start: apt install "
                            "gir1.2-gst-rtsp-server-1.0")  # fmt: skip

    def unplug(self) -> None:
        """End its process at once; its viewers hear nothing of it."""
        self._process.kill()
        self._process.communicate()


def free_tcp_port() -> int:
    """Return a TCP port of this machine that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
