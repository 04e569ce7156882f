"""Where the picture goes: a file, the screen, or an RTSP address of our own."""

from __future__ import annotations

import logging
import os
import re
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from deepstream.io.rtsp_server import serving
from xpnet.addresses import LOOPBACK, check_port, public
from xpnet.errors import UserError
from xpnet.files import check_writable, replacing

log = logging.getLogger("xpnet.graph")

MUXERS = {".mp4": "mp4mux", ".mkv": "matroskamux"}
"""The container of an output file, by its suffix."""
SCREEN = "screen"


@dataclass(frozen=True)
class Output:
    """What `--output` names. `kind` is file, screen or rtsp; `path` of a file alone."""

    kind: str
    where: str
    path: Path | None = None
    host: str = ""
    port: int = 0
    mount: str = ""

    @property
    def muxer(self) -> str:
        """The muxer of a file."""
        return MUXERS[self.path.suffix.lower()] if self.path else ""

    def check(self, environ: Mapping[str, str] = os.environ) -> None:
        """Raises UserError for a screen without a desktop; warns of an RTSP address for all."""
        if self.kind == SCREEN and not (environ.get("DISPLAY") or environ.get("WAYLAND_DISPLAY")):
            # Without one GStreamer's autovideosink crashes; NVIDIA's two sinks open windows, too.
            raise UserError(
                "--output screen: no desktop here (neither DISPLAY nor WAYLAND_DISPLAY is set)"
            )
        if self.kind == "rtsp" and self.host not in LOOPBACK:
            log.warning("%s: whoever reaches this address sees it: no password", self.where)

    @contextmanager
    def opened(self) -> Iterator[dict[str, str]]:
        """The words `location`, `muxer` and `rtp_port` of the graph's description, while it runs.

        A file grows under a temporary name and gets its own at the end.
        """
        if self.path is not None:
            with replacing(self.path) as partial:
                yield {"location": str(partial), "muxer": self.muxer, "rtp_port": ""}
        elif self.kind == "rtsp":
            port = free_udp_port()
            with serving(self.host, self.port, self.mount, port):
                yield {"location": "", "muxer": "", "rtp_port": str(port)}
        else:
            yield {"location": "", "muxer": "", "rtp_port": ""}


def parse_output(text: str | Path) -> Output:
    """`FILE.mp4`, `FILE.mkv`, `screen` or `rtsp://HOST:PORT/NAME`.

    Raises:
        UserError: nothing of these, or a file that could not be written.
    """
    if str(text) == SCREEN:
        return Output(SCREEN, SCREEN)
    if str(text).startswith("rtsp:"):
        address = re.fullmatch(r"rtsp://([^/:@]+):(\d+)(/[\w./-]+)", str(text))
        if address is None:
            raise UserError(
                f"{public(str(text))}: expected rtsp://HOST:PORT/NAME, such as port 8554 of "
                "127.0.0.1"
            )
        host, port, mount = address.groups()
        number = check_port(port, str(text))
        return Output("rtsp", str(text), host=host, port=number, mount=mount)
    path = Path(text)
    if path.suffix.lower() not in MUXERS:
        raise UserError(
            f"{path}: expected a name that ends in {' or '.join(MUXERS)}, 'screen', or "
            "rtsp://HOST:PORT/NAME"
        )
    if not str(path).isascii() and os.fsencode(path) != str(path).encode(errors="replace"):
        raise UserError(f"{str(path)!a}: expected a name in UTF-8: GStreamer writes no other")
    check_writable(path)
    return Output("file", str(path), path)


def free_udp_port() -> int:
    """A UDP port of 127.0.0.1 that nobody has right now."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
