"""The RTSP server: what the graph sends as RTP to a port of 127.0.0.1 is offered at an address."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from deepstream.gstreamer import GLib, gi
from xpnet.errors import UserError

PACKAGE = "gir1.2-gst-rtsp-server-1.0"
BUFFER_BYTES = 524_288
"""Of the socket between the graph and the server: a key frame comes at once, in many packets, and
the kernel's own buffer loses some of them. deepstream-app's size (deepstream_sink_bin.c); the
kernel gives no more than net.core.rmem_max."""
LAUNCH = (
    f"( udpsrc address=127.0.0.1 buffer-size={BUFFER_BYTES} port={{port}} "
    'caps="application/x-rtp,media=video,clock-rate=90000,'
    'encoding-name=H264,payload=96" ! rtph264depay ! rtph264pay name=pay0 pt=96 )'
)
"""What each viewer shares: `pay0` is the name that GStreamer's RTSP server looks for."""


@contextmanager
def serving(host: str, port: int, mount: str, rtp_port: int) -> Iterator[None]:
    """Offers the RTP stream of `rtp_port` at rtsp://host:port/mount, while inside `with`.

    Raises:
        UserError: GStreamer's RTSP server is missing, or the address cannot be listened on.
    """
    try:
        gi.require_version("GstRtspServer", "1.0")
        from gi.repository import GstRtspServer
    except (ImportError, ValueError) as error:
        raise UserError(
            f"an RTSP output needs GStreamer's server: apt install {PACKAGE}"
        ) from error
    server = GstRtspServer.RTSPServer.new()
    server.set_address(host)
    server.set_service(str(port))
    factory = GstRtspServer.RTSPMediaFactory.new()
    factory.set_launch(LAUNCH.format(port=rtp_port))
    factory.set_shared(True)  # every viewer sees the same stream
    server.get_mount_points().add_factory(mount, factory)
    context = GLib.MainContext.new()
    if server.attach(context) == 0:
        raise UserError(f"{host}:{port} cannot be listened on: taken, or not ours")
    with _running(context):
        try:
            yield
        finally:
            server.client_filter(lambda *_: GstRtspServer.RTSPFilterResult.REMOVE)


@contextmanager
def _running(context: Any) -> Iterator[None]:
    loop = GLib.MainLoop.new(context, False)
    thread = threading.Thread(target=loop.run, name="rtsp", daemon=True)
    thread.start()
    try:
        yield
    finally:
        loop.quit()
        thread.join(timeout=5)
