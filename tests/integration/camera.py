"""An RTSP camera for tests that can be disconnected."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

CAMERA = """
import sys
import gi
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer
Gst.init(None)
server = GstRtspServer.RTSPServer.new()
server.set_address("127.0.0.1")
server.set_service(sys.argv[1])
factory = GstRtspServer.RTSPMediaFactory.new()
factory.set_launch(
    f"( filesrc location={sys.argv[2]} ! qtdemux ! h264parse ! rtph264pay name=pay0 )"
)
server.get_mount_points().add_factory("/scope", factory)
server.attach(None)
print("ready", flush=True)
GLib.MainLoop().run()
"""


class Camera:
    """An RTSP camera in a process of its own that can be disconnected."""

    def __init__(self, clip: Path) -> None:
        self.port, self.clip = free_tcp_port(), clip
        self.address = f"rtsp://127.0.0.1:{self.port}/scope"
        self.plug()

    def plug(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", CAMERA, str(self.port), str(self.clip)], stdout=subprocess.PIPE
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == b"ready\n"

    def unplug(self) -> None:
        self.process.kill()
        self.process.communicate()


def free_tcp_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
