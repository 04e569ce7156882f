"""What `xpnet deploy` generates files for: platform, sources, sinks and Triton mode."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from xpnet.addresses import without_credentials
from xpnet.card import MAX_BATCH
from xpnet.errors import UserError
from xpnet.paths import DEMO_CLIP
from xpnet.platforms import JETSON, TARGETS
from xpnet.serving.model_config import DEFAULT_PLAN
from xpnet.serving.triton_server import HOST

TRITON_MODES = ("inprocess", "grpc", "none")
"""nvinferserver with Triton in the graph's process, nvinferserver with a separate tritonserver, or
nvinfer without Triton."""
MIN_SIDE_PX, MAX_FPS = 64, 240


@dataclass(frozen=True)
class PlatformElements:
    """The elements of deepstream-app that differ between a discrete GPU and a Jetson.

    Attributes:
        camera: Elements from a V4L2 camera to the muxer (deepstream_source_bin.c).
        screen: The sink that opens a window.
        has_drm_sink: Whether nvdrmvideosink exists, for a screen without a desktop
            (deepstream_sink_bin.c).
    """

    camera: str
    screen: str
    has_drm_sink: bool


PLATFORMS = {
    "rtx": PlatformElements("v4l2src, videoconvert, nvvideoconvert", "nveglglessink", False),
    "jetson": PlatformElements("v4l2src, nvvideoconvert", "nv3dsink", True),
}
"""The values of `--platform`: a PC with a discrete GPU, and a Jetson."""


@dataclass(frozen=True)
class Deployment:
    """The options of one `xpnet deploy`; checked when it is created.

    Attributes:
        platform: A key of PLATFORMS.
        sources: Files, `/dev/videoN` or RTSP addresses; one tile for each.
        sinks: `screen`, `drm`, `rtsp[:PORT]` or files.
        triton: One of TRITON_MODES.
        model: A TensorRT plan of the model repository.
        url: HOST:PORT of the separate tritonserver, for mode `grpc`.
        width: Width of the cameras and of the output, in pixels.
        height: Height of the cameras and of the output, in pixels.
        fps: Frame rate of the cameras.
        software_encoder: Whether x264enc encodes instead of nvv4l2h264enc.
        probabilities: Whether nvinferserver attaches the network's probabilities in addition to
            its mask.

    Raises:
        UserError: An option is out of range, or two exclude each other.
    """

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
    probabilities: bool = False

    def __post_init__(self) -> None:
        for option, value, known in (
            ("platform", self.platform, PLATFORMS),
            ("triton", self.triton, TRITON_MODES),
        ):
            if value not in known:
                raise UserError(f"{option} '{value}', expected {', '.join(known)}")
        if not 1 <= len(self.sources) <= MAX_BATCH:
            raise UserError(
                f"{len(self.sources)} sources, expected 1 to {MAX_BATCH}, the plan's largest batch"
            )
        if self.probabilities and self.triton == "none":
            raise UserError(
                "--probabilities requires nvinferserver: use --triton inprocess or grpc"
            )
        if not self.sinks:
            raise UserError("no --sink, expected screen, drm, rtsp[:PORT] or a file")
        for side, pixels in (("width", self.width), ("height", self.height)):
            if pixels < MIN_SIDE_PX:
                raise UserError(f"{side} {pixels}, expected {MIN_SIDE_PX} or more")
        if not 1 <= self.fps <= MAX_FPS:
            raise UserError(f"fps {self.fps:g}, expected 1 to {MAX_FPS}")

    @property
    def is_jetson(self) -> bool:
        """Whether it runs on a Jetson."""
        return TARGETS[self.platform] == JETSON

    @property
    def is_live(self) -> bool:
        """Whether every source is live; frames that are late are then dropped."""
        return all(source_kind(x) != "file" for x in self.sources)

    @property
    def stops_at_any_error(self) -> bool:
        """Whether the failure of one source stops the others.

        deepstream-app ends at any error unless its first source is RTSP (bus_callback in
        deepstream_app.c).
        """
        return self.is_live and len(self.sources) > 1 and source_kind(self.sources[0]) != "rtsp"

    @property
    def app_file_name(self) -> str:
        """Name of deepstream-app's file, such as `cart_rtx_4xv4l2_screen_inprocess.txt`.

        It contains platform, sources, sinks, Triton mode, and the model if not the default.
        """
        kinds = [source_kind(x) for x in self.sources]
        sources = [f"{n}x{k}" if (n := kinds.count(k)) > 1 else k for k in dict.fromkeys(kinds)]
        sinks = [sink_kind(x) for x in self.sinks]
        model = [] if self.model == DEFAULT_PLAN else [self.model]
        parts = [self.platform, "-".join(sources), "-".join(sinks), self.triton, *model]
        return self._file_name("cart", parts)

    @property
    def infer_file_name(self) -> str:
        """Name of the inference config, such as `infer_rtx_inprocess_xpnet_lite_b4.txt`.

        It contains everything that the config depends on.
        """
        parts = [self.platform, self.triton, self.model, f"b{len(self.sources)}"]
        return self._file_name("infer", parts)

    def _file_name(self, prefix: str, parts: list[str]) -> str:
        return "_".join([prefix, *parts, *["probabilities"] * self.probabilities]) + ".txt"


_DEMO: dict[str, Any] = {"sources": (str(DEMO_CLIP),), "width": 720, "height": 404}
EXAMPLES = (
    Deployment("rtx", sinks=("screen",), triton="inprocess", **_DEMO),
    Deployment("rtx", ("/dev/video0",), ("screen", "xpnet_masks.mkv"), "inprocess"),
    Deployment("rtx", tuple(f"/dev/video{n}" for n in range(4)), ("screen",), "inprocess"),
    Deployment("rtx", ("rtsp://127.0.0.1:8554/scope",), ("rtsp:8555",), "grpc"),
    Deployment("rtx", sinks=("xpnet_masks.mkv",), triton="none", model="xpnet", **_DEMO),
    Deployment("jetson", sinks=("xpnet_masks.mkv",), triton="none", **_DEMO),
    Deployment("jetson", ("/dev/video0",), ("drm",), "inprocess"),
    Deployment("jetson", tuple(f"/dev/video{n}" for n in range(4)), ("screen",), "none"),
    Deployment("jetson", ("rtsp://127.0.0.1:8554/scope",), ("rtsp:8555",), "grpc"),
)
"""The deployments in deepstream/app_config/examples: every kind of source, sink and Triton mode."""


def source_kind(source: str) -> str:
    """Return the kind of a source: `file`, `v4l2` or `rtsp`.

    Args:
        source: A value of `--source`.

    Raises:
        UserError: deepstream-app cannot open such a source.
    """
    scheme = urlsplit(source).scheme.lower()
    if re.fullmatch(r"/dev/video\d+", source):
        return "v4l2"
    if scheme in {"rtsp", "rtsps"}:
        return "rtsp"
    if scheme in {"decklink", "aja", "ndi", "csi"}:
        raise UserError(
            f"--source {without_credentials(source)}: expected a file, /dev/videoN or rtsp://...; "
            "an SDI card needs a V4L2 driver"
        )
    if scheme and scheme != "file":
        raise UserError(
            f"--source {without_credentials(source)}: expected a file, /dev/videoN or rtsp://..."
        )
    return "file"


def sink_kind(sink: str) -> str:
    """Return the kind of a sink: `screen`, `drm`, `rtsp` or `file`.

    Args:
        sink: A value of `--sink`.

    Raises:
        UserError: It is none of them.
    """
    if sink in {"screen", "drm"}:
        return sink
    if sink == "rtsp" or sink.startswith("rtsp:"):
        return "rtsp"
    if Path(sink).suffix.lower() in {".mp4", ".mkv"}:
        return "file"
    raise UserError(f"--sink {sink}: expected screen, drm, rtsp[:PORT] or a file .mp4 or .mkv")
