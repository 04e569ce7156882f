"""Outputs of the graph: a file, the screen with or without a desktop, or our own RTSP server."""

from __future__ import annotations

import logging
import os
import re
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from deepstream.io.rtsp_server import running_rtsp_server
from xpnet.addresses import LOOPBACK, check_port, without_credentials
from xpnet.errors import UserError
from xpnet.files import check_writable, replacing

log = logging.getLogger("xpnet.graph")

MUXERS = {".mp4": "mp4mux", ".mkv": "matroskamux"}
"""GStreamer's muxer by the suffix of the output file."""
SCREEN, DRM, NOTHING = "screen", "drm", "none"
"""A window, the whole screen of a Jetson without a desktop, and no output."""


@dataclass(frozen=True)
class SinkProperties:
    """What an opened output adds to the description of the graph.

    Attributes:
        location: The file that the muxer writes; empty for no file.
        muxer: The muxer of a file; empty for no file.
        rtp_port: The UDP port that RTP packets go to; empty for no RTSP.
        window: The element that opens a window on plain GStreamer.
    """

    location: str = ""
    muxer: str = ""
    rtp_port: str = ""
    window: str = "ximagesink"


@dataclass(frozen=True)
class Output:
    """What `--output` names.

    Attributes:
        kind: `file`, `screen`, `drm`, `none` or `rtsp`.
        display_name: Its name in messages.
        path: The file, for kind `file`.
        host: The address to listen on, for kind `rtsp`.
        port: The TCP port to listen on, for kind `rtsp`.
        mount: The path of the stream, for kind `rtsp`.
    """

    kind: str
    display_name: str
    path: Path | None = None
    host: str = ""
    port: int = 0
    mount: str = ""

    @property
    def muxer(self) -> str:
        """The muxer of a file; empty for no file."""
        return MUXERS[self.path.suffix.lower()] if self.path else ""

    @contextmanager
    def open(self) -> Iterator[SinkProperties]:
        """Open the output for the time of the `with` block.

        A file is written under a temporary name and renamed at the end.

        Yields:
            The properties of the graph's sink.
        """
        if self.path is not None:
            with replacing(self.path) as partial:
                yield SinkProperties(location=str(partial), muxer=self.muxer)
        elif self.kind == "rtsp":
            port = free_udp_port()
            with running_rtsp_server(self.host, self.port, self.mount, port):
                yield SinkProperties(rtp_port=str(port))
        else:
            yield SinkProperties()


def parse_output(text: str | Path) -> Output:
    """Parse `FILE.mp4`, `FILE.mkv`, `screen`, `drm`, `none` or `rtsp://HOST:PORT/NAME`.

    Args:
        text: The value of `--output`.

    Raises:
        UserError: It is none of these, or a file that cannot be written.
    """
    if str(text) in (SCREEN, DRM, NOTHING):
        return Output(str(text), str(text))
    if str(text).startswith("rtsp:"):
        address = re.fullmatch(r"rtsp://([^/:@]+):(\d+)(/[\w./-]+)", str(text))
        if address is None:
            raise UserError(
                f"{without_credentials(str(text))}: expected rtsp://HOST:PORT/NAME, such as port "
                "8554 of 127.0.0.1"
            )
        host, port, mount = address.groups()
        number = check_port(port, str(text))
        return Output("rtsp", str(text), host=host, port=number, mount=mount)
    path = Path(text)
    if path.suffix.lower() not in MUXERS:
        raise UserError(
            f"{path}: expected a name that ends in {' or '.join(MUXERS)}, 'screen', 'drm', 'none', "
            "or rtsp://HOST:PORT/NAME"
        )
    if not str(path).isascii() and os.fsencode(path) != str(path).encode(errors="replace"):
        raise UserError(f"{str(path)!a}: expected a name in UTF-8: GStreamer writes no other")
    check_writable(path)
    return Output("file", str(path), path)


def check_output(output: Output, environ: Mapping[str, str] = os.environ) -> None:
    """Check that a screen can be used; warn if an RTSP address is open to the network.

    Args:
        output: A parsed output.
        environ: The environment variables.

    Raises:
        UserError: The output is the screen and no desktop runs.
    """
    if output.kind == SCREEN and not (environ.get("DISPLAY") or environ.get("WAYLAND_DISPLAY")):
        raise UserError(
            "--output screen: no desktop found (neither DISPLAY nor WAYLAND_DISPLAY is set); "
            "without one, a Jetson has --output drm"
        )
    if output.kind == "rtsp" and output.host not in LOOPBACK:
        log.warning("%s: open to the network without a password", output.display_name)


def free_udp_port() -> int:
    """Return a UDP port of 127.0.0.1 that is free at the moment."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
