"""A deployment for deepstream-app: platform, sources, sinks, Triton mode."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from xpnet.addresses import without_credentials
from xpnet.card import MAX_BATCH
from xpnet.errors import UserError
from xpnet.paths import ROOT
from xpnet.platforms import JETSON, TARGETS
from xpnet.serving.model_config import DEFAULT_PLAN
from xpnet.serving.triton_server import HOST

INFERENCE = ("inprocess", "grpc", "none")
"""nvinferserver with Triton in the graph's process, with a separate server, or nvinfer."""
MIN_SIDE, MAX_FPS = 64, 240
"""Smallest side in pixels, and highest frame rate."""


@dataclass(frozen=True)
class Platform:
    """What differs between a PC with a discrete GPU and a Jetson.

    Attributes:
        camera: Elements that deepstream-app puts behind v4l2src (deepstream_source_bin.c).
    """

    name: str
    camera: str
    screen: str
    drm: bool  # nvdrmvideosink, a screen without a desktop (deepstream_sink_bin.c)

    @property
    def jetson(self) -> bool:
        """Whether it is a Jetson."""
        return TARGETS[self.name] == JETSON


PLATFORMS = {
    p.name: p
    for p in (
        Platform("rtx", "v4l2src, videoconvert, nvvideoconvert", "nveglglessink", False),
        Platform("jetson", "v4l2src, nvvideoconvert", "nv3dsink", True),
    )
}


@dataclass(frozen=True)
class Deployment:
    """One deployment, by the options of `xpnet deploy`."""

    platform: str
    sources: tuple[str, ...]
    sinks: tuple[str, ...]
    triton: str
    model: str = DEFAULT_PLAN
    url: str = f"{HOST}:8001"
    width: int = 1920
    height: int = 1080
    fps: float = 30
    software_encoder: bool = False
    probabilities: bool = False  # nvinferserver attaches them beside its mask

    def __post_init__(self) -> None:
        for what, word, known in (
            ("platform", self.platform, PLATFORMS),
            ("triton", self.triton, INFERENCE),
        ):
            if word not in known:
                raise UserError(f"{what} '{word}', expected {', '.join(known)}")
        if not 1 <= len(self.sources) <= MAX_BATCH:
            raise UserError(
                f"{len(self.sources)} sources, expected 1 to {MAX_BATCH}, the plan's largest batch"
            )
        if self.probabilities and self.triton == "none":
            raise UserError("--probabilities belongs to nvinferserver, not to --triton none")
        if not self.sinks:
            raise UserError("no --sink, expected screen, drm, rtsp[:PORT] or a file")
        for name, value in (("width", self.width), ("height", self.height)):
            if value < MIN_SIDE:
                raise UserError(f"{name} {value}, expected {MIN_SIDE} or more")
        if not 1 <= self.fps <= MAX_FPS:
            raise UserError(f"fps {self.fps:g}, expected 1 to {MAX_FPS}")

    @property
    def live(self) -> bool:
        """Whether every source is live: then old frames are dropped."""
        return all(source_kind(x) != "file" for x in self.sources)

    @property
    def stops_at_any_error(self) -> bool:
        """Whether the failure of one source stops the others.

        deepstream-app ends at any error unless its first source is RTSP (bus_callback in
        deepstream_app.c).
        """
        return self.live and len(self.sources) > 1 and source_kind(self.sources[0]) != "rtsp"

    @property
    def name(self) -> str:
        """Name of its file: platform, sources, sinks, Triton mode, model if not the default."""
        kinds = [source_kind(x) for x in self.sources]
        sources = [f"{n}x{k}" if (n := kinds.count(k)) > 1 else k for k in dict.fromkeys(kinds)]
        sinks = [sink_kind(x) for x in self.sinks]
        model = [] if self.model == DEFAULT_PLAN else [self.model]
        words = [self.platform, "-".join(sources), "-".join(sinks), self.triton, *model]
        return "_".join(words + ["probabilities"] * self.probabilities)

    @property
    def infer_name(self) -> str:
        """Name of its inference config, made of what the config depends on."""
        words = [self.platform, self.triton, self.model, f"b{len(self.sources)}"]
        return "_".join(words + ["probabilities"] * self.probabilities)


_CLIP: dict[str, Any] = {
    "sources": (str(ROOT / "docs/demo/colonoscopy.mp4"),),
    "width": 720,
    "height": 404,
}
EXAMPLES = (
    Deployment("rtx", sinks=("screen",), triton="inprocess", **_CLIP),
    Deployment("rtx", ("/dev/video0",), ("screen", "xpnet_masks.mkv"), "inprocess"),
    Deployment("rtx", tuple(f"/dev/video{n}" for n in range(4)), ("screen",), "inprocess"),
    Deployment("rtx", ("rtsp://127.0.0.1:8554/scope",), ("rtsp:8555",), "grpc"),
    Deployment("rtx", sinks=("xpnet_masks.mkv",), triton="none", model="xpnet", **_CLIP),
    Deployment("jetson", sinks=("xpnet_masks.mkv",), triton="none", **_CLIP),
    Deployment("jetson", ("/dev/video0",), ("drm",), "inprocess"),
    Deployment("jetson", tuple(f"/dev/video{n}" for n in range(4)), ("screen",), "none"),
    Deployment("jetson", ("rtsp://127.0.0.1:8554/scope",), ("rtsp:8555",), "grpc"),
)
"""The files in deepstream/app_config/examples: every source, sink and Triton mode at least once."""


def source_kind(word: str) -> str:
    """Return `file`, `v4l2` or `rtsp`.

    Args:
        word: The value of `--source`.

    Raises:
        UserError: deepstream-app cannot open such a source.
    """
    scheme = urlsplit(word).scheme.lower()
    if re.fullmatch(r"/dev/video\d+", word):
        return "v4l2"
    if scheme in {"rtsp", "rtsps"}:
        return "rtsp"
    if scheme in {"decklink", "aja", "ndi", "csi"}:
        raise UserError(
            f"--source {without_credentials(word)}: deepstream-app opens /dev/videoN, RTSP, files; "
            "an SDI card needs a V4L2 driver for it"
        )
    if scheme and scheme != "file":
        raise UserError(
            f"--source {without_credentials(word)}: expected a file, /dev/videoN or rtsp://..."
        )
    return "file"


def sink_kind(word: str) -> str:
    """Return `screen`, `drm`, `rtsp` or `file`. Raises UserError for anything else."""
    if word in {"screen", "drm"}:
        return word
    if word == "rtsp" or word.startswith("rtsp:"):
        return "rtsp"
    if Path(word).suffix.lower() in {".mp4", ".mkv"}:
        return "file"
    raise UserError(f"--sink {word}: expected screen, drm, rtsp[:PORT] or a file .mp4 or .mkv")
