"""An RTSP camera that plays a file, in a process of its own: `python -m ... PORT FILE`.

Benchmarks and tests stop and start it as one pulls and plugs a cable. It ends when its standard
input does, so that it does not outlive who started it.
"""

from __future__ import annotations

import os
import sys
import threading

from deepstream.gstreamer import GLib, gi

READY = "ready"
"""What it prints when clients can connect to rtsp://127.0.0.1:PORT/scope."""
LAUNCH = '( filesrc location="{path}" ! qtdemux ! h264parse ! rtph264pay name=pay0 )'


def main(port: str, path: str) -> None:
    """Serve an MP4 with H.264 to each client from its start, until the process is ended.

    Args:
        port: TCP port of 127.0.0.1.
        path: The file.
    """
    gi.require_version("GstRtspServer", "1.0")
    from gi.repository import GstRtspServer

    server = GstRtspServer.RTSPServer.new()
    server.set_address("127.0.0.1")
    server.set_service(port)
    factory = GstRtspServer.RTSPMediaFactory.new()
    factory.set_launch(LAUNCH.format(path=path))
    server.get_mount_points().add_factory("/scope", factory)
    server.attach(None)
    threading.Thread(target=_end_with_input, daemon=True).start()
    print(READY, flush=True)
    GLib.MainLoop().run()


def _end_with_input() -> None:
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
