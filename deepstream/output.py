"""Where the picture goes: a file, the screen, or an RTSP address of our own."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from deepstream.rtsp import serving
from xpnet.errors import UserError
from xpnet.files import check_writable, replacing

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
        address = re.fullmatch(r"rtsp://([^/:@]+):(\d{1,5})(/[\w./-]+)", str(text))
        if address is None:
            raise UserError(
                f"{text}: expected rtsp://HOST:PORT/NAME, such as port 8554 of 127.0.0.1"
            )
        host, port, mount = address.groups()
        return Output("rtsp", str(text), host=host, port=int(port), mount=mount)
    path = Path(text)
    if path.suffix.lower() not in MUXERS:
        raise UserError(
            f"{path}: expected a name that ends in {' or '.join(MUXERS)}, 'screen', or "
            "rtsp://HOST:PORT/NAME"
        )
    check_writable(path)
    return Output("file", str(path), path)


def free_udp_port() -> int:
    """A UDP port of 127.0.0.1 that nobody has right now."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
