"""RTSP server: serves the RTP stream that the graph sends to a local port."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from deepstream.gstreamer import GLib, gi
from xpnet.errors import UserError

PACKAGE = "gir1.2-gst-rtsp-server-1.0"
BUFFER_BYTES = 524_288
"""Size of the socket buffer between graph and server: a key frame arrives as many packets, and
the kernel's default buffer drops some. The size is deepstream-app's (deepstream_sink_bin.c); the
kernel limits it to net.core.rmem_max."""
LAUNCH = (
    f"( udpsrc address=127.0.0.1 buffer-size={BUFFER_BYTES} port={{port}} "
    'caps="application/x-rtp,media=video,clock-rate=90000,'
    'encoding-name=H264,payload=96" ! rtph264depay ! rtph264pay name=pay0 pt=96 )'
)
"""The pipeline that all viewers share; GStreamer's RTSP server requires the name `pay0`."""


@contextmanager
def running_rtsp_server(host: str, port: int, mount: str, rtp_port: int) -> Iterator[None]:
    """Serve the RTP stream of a local port at rtsp://host:port/mount during the `with` block.

    Args:
        host: Address to listen on.
        port: TCP port to listen on.
        mount: Path of the stream, such as "/masks".
        rtp_port: UDP port of 127.0.0.1 that receives RTP packets.

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
    factory.set_shared(True)  # all viewers share one stream
    server.get_mount_points().add_factory(mount, factory)
    context = GLib.MainContext.new()
    if server.attach(context) == 0:
        raise UserError(f"{host}:{port} cannot be listened on: port in use, or foreign address")
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
