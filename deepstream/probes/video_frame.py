"""A frame in the format that the decoder made: planes, colour matrix, and the way to RGB.

Frames are not converted to RGB as a whole: that would change every pixel and take longer than the
network. The network's input is converted after it was scaled down, and masks are drawn on the
planes themselves.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from deepstream.gstreamer import GstVideo
from xpnet.frames import Frame, shrink_plane
from xpnet.overlay import Plane

YUV_FORMATS = (
    "I420", "YV12", "NV12", "Y42B", "Y444", "I420_10LE", "I422_10LE", "Y444_10LE"
)  # fmt: skip
"""The formats that x264enc accepts, so that a frame is drawn on and encoded as it was decoded."""
DRAWN_FORMATS = (*YUV_FORMATS, "RGBA")
"""The formats that masks can be drawn on."""

_MATRICES = {
    GstVideo.VideoColorMatrix.FCC: (0.30, 0.11),
    GstVideo.VideoColorMatrix.BT709: (0.2126, 0.0722),
    GstVideo.VideoColorMatrix.BT601: (0.299, 0.114),
    GstVideo.VideoColorMatrix.SMPTE240M: (0.212, 0.087),
    GstVideo.VideoColorMatrix.BT2020: (0.2627, 0.0593),
}
"""Weights of red and blue in luma (ITU-T H.273, table 4)."""
HD_LINES = 576
"""A frame with more lines is in BT.709 unless it says otherwise, as GStreamer assumes."""


@dataclass(frozen=True)
class PlaneFormat:
    """One plane of a frame in memory.

    Attributes:
        components: Its channels in the order of the memory; 0 to 3 are Y, U, V or R, G, B, A.
        height: Height in samples.
        width: Width in samples.
        offset: Bytes from the start of the buffer.
        stride: Bytes from one row to the next.
    """

    components: tuple[int, ...]
    height: int
    width: int
    offset: int
    stride: int


@dataclass(frozen=True, eq=False)
class FrameFormat:
    """Format of the frames on a pad.

    Attributes:
        name: GStreamer's name, such as `I420`.
        height: Height in pixels.
        width: Width in pixels.
        depth: Bits of a sample: 8 or 10.
        planes: The planes, in the order of the memory.
        to_rgb: 3 x 4 matrix from Y, U, V of this depth, and 1, to R, G, B of 0 to 255; None for a
            frame in RGB.
    """

    name: str
    height: int
    width: int
    depth: int
    planes: tuple[PlaneFormat, ...]
    to_rgb: NDArray[np.float64] | None

    def components_of(self, rgb: tuple[int, int, int]) -> tuple[int, ...]:
        """Convert a colour to this format's components, within their range.

        Args:
            rgb: Red, green and blue of 0 to 255.
        """
        if self.to_rgb is None:
            return (*rgb, 255)
        values = np.linalg.solve(self.to_rgb[:, :3], np.asarray(rgb) - self.to_rgb[:, 3])
        return tuple(int(v) for v in np.clip(np.rint(values), 0, 2**self.depth - 1))


class VideoFrame:
    """The pixels of one frame, mapped for the time of a `with` block.

    Attributes:
        format: Their format.
        arrays: One array for each plane: height x width, or height x width x channels.
    """

    def __init__(self, form: FrameFormat, arrays: list[NDArray[Any]]) -> None:
        self.format, self.arrays = form, arrays

    def scaled_rgb(self, height: int, width: int) -> Frame:
        """Return the frame in RGB at another size; the planes are scaled before the conversion.

        Args:
            height: Height in pixels.
            width: Width in pixels.

        Returns:
            height x width x 3 uint8.
        """
        matrix = self.format.to_rgb
        small = [shrink_plane(array, height, width) for array in self.arrays]
        if matrix is None:
            return np.ascontiguousarray(small[0][:, :, :3])
        order = [c for plane in self.format.planes for c in plane.components]
        columns = matrix[:, [*order, 3]]
        rgb = cv2.transform(cv2.merge(small), columns)
        return np.asarray(rgb.astype(np.uint8) if rgb.dtype == np.uint16 else rgb)

    def planes(self, rgb: tuple[int, int, int]) -> list[Plane]:
        """Return the planes to draw on, each with its part of a colour.

        Args:
            rgb: The colour.
        """
        colour = self.format.components_of(rgb)
        return [
            Plane(array, tuple(colour[c] for c in plane.components))
            for plane, array in zip(self.format.planes, self.arrays, strict=True)
        ]


def default_colorimetry(lines: int) -> str:
    """Return the colorimetry of frames that do not state it, as GStreamer assumes it.

    Args:
        lines: Height of the frames in pixels.
    """
    return "bt709" if lines > HD_LINES else "bt601"


def read_format(caps: Any) -> FrameFormat:
    """Return the format that caps describe.

    Args:
        caps: A Gst.Caps of `video/x-raw` in system memory.

    Raises:
        RuntimeError: The caps are of another kind, or of a format that is not in DRAWN_FORMATS.
    """
    info = GstVideo.VideoInfo.new_from_caps(caps)
    if info is None or info.finfo.name not in DRAWN_FORMATS:
        raise RuntimeError(
            f"frames of {caps.to_string()}: expected video/x-raw of {', '.join(DRAWN_FORMATS)}"
        )
    form = info.finfo
    planes = []
    for index in range(form.n_planes):
        here = [c for c in range(form.n_components) if form.plane[c] == index]
        here.sort(key=lambda c: form.poffset[c])
        planes.append(
            PlaneFormat(
                tuple(here),
                -(-info.height >> form.h_sub[here[0]]),
                -(-info.width >> form.w_sub[here[0]]),
                info.offset[index],
                info.stride[index],
            )
        )
    depth = form.depth[0]
    rgb = bool(form.flags & GstVideo.VideoFormatFlags.RGB)
    matrix = None if rgb else _yuv_to_rgb(info.colorimetry, info.height, depth)
    return FrameFormat(form.name, info.height, info.width, depth, tuple(planes), matrix)


def _yuv_to_rgb(colorimetry: Any, lines: int, depth: int) -> NDArray[np.float64]:
    """Return the 3 x 4 matrix from Y, U, V of a depth to R, G, B of 0 to 255 (ITU-T H.273, 8.3)."""
    default = default_colorimetry(lines).upper()
    unknown = _MATRICES[getattr(GstVideo.VideoColorMatrix, default)]
    red, blue = _MATRICES.get(colorimetry.matrix, unknown)
    green = 1 - red - blue
    chroma = np.array(
        [
            [0, 2 * (1 - red)],
            [-2 * blue * (1 - blue) / green, -2 * red * (1 - red) / green],
            [2 * (1 - blue), 0],
        ]
    )
    unit = 2 ** (depth - 8)
    full = colorimetry.range == getattr(GstVideo.VideoColorRange, "0_255")
    top = 2**depth - 1
    luma_zero, luma_size, chroma_size = (
        (0, top, top) if full else (16 * unit, 219 * unit, 224 * unit)
    )
    matrix = 255 * np.hstack([np.full((3, 1), 1 / luma_size), chroma / chroma_size])
    offset = -matrix @ np.array([luma_zero, 128 * unit, 128 * unit])
    return np.hstack([matrix, offset[:, None]])


class FormatReader:
    """Reads the format on a pad, and again when it changes."""

    def __init__(self) -> None:
        self._caps: Any = None
        self._format: FrameFormat | None = None

    def read(self, pad: Any) -> FrameFormat:
        """Return the format of the frames on a pad.

        Args:
            pad: The Gst.Pad of a probe.

        Raises:
            RuntimeError: The pad has no caps, or as `read_format`.
        """
        caps = pad.get_current_caps()
        if caps is None:
            raise RuntimeError("the pad has no format yet")
        # The old caps are kept, so a new format cannot have their address.
        if self._format is None or hash(caps) != hash(self._caps):
            self._caps, self._format = caps, read_format(caps)
        return self._format


def format_caps(formats: tuple[str, ...]) -> str:
    """Return a list of formats as in caps, such as `{I420,NV12}`."""
    return "{" + ",".join(formats) + "}"
