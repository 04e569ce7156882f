"""Chooses the format of a V4L2 device: raw frames if it offers them at the size, else MJPEG."""

from __future__ import annotations

from typing import Any

from deepstream.gstreamer import Gst, require_elements
from deepstream.io.frame_rate import exact_frame_rate
from xpnet.errors import UserError

MEDIA_TYPES = {"v4l2": "video/x-raw", "v4l2-jpeg": "image/jpeg"}
"""Media type by kind of source, preferred first: many cameras offer full size in MJPEG only."""
MAX_LISTED_SIZES = 6
"""Sizes listed in an error message."""


def rate_caps(fps: float) -> str:
    """Return the end of a caps string that requests a frame rate; empty for 0, the device's own."""
    exact = exact_frame_rate(fps)
    return f",framerate={exact.numerator}/{exact.denominator}" if fps else ""


def choose_format(device: str, height: int, width: int, fps: float) -> str:
    """Return `v4l2` or `v4l2-jpeg`, the format in which a device delivers frames of a size.

    Args:
        device: Path of the device.
        height: Height in pixels.
        width: Width in pixels.
        fps: Frame rate; 0 for the device's own.

    Raises:
        UserError: The device cannot be opened, or does not offer the size or frame rate.
    """
    require_elements(["v4l2src"])
    source = Gst.ElementFactory.make("v4l2src")
    source.set_property("device", device)
    try:
        if source.set_state(Gst.State.READY) == Gst.StateChangeReturn.FAILURE:
            raise UserError(f"{device}: cannot be opened: in use, or no capture device")
        return format_among(
            device, source.get_static_pad("src").query_caps(None), height, width, fps
        )
    finally:
        source.set_state(Gst.State.NULL)


def format_among(device: str, offered: Any, height: int, width: int, fps: float) -> str:
    """Return the format among the caps that a device offers; see `choose_format`."""
    for kind, media in MEDIA_TYPES.items():
        wanted = f"{media},width={width},height={height}{rate_caps(fps)}"
        if offered.can_intersect(Gst.Caps.from_string(wanted)):
            return kind
    at = f" at {fps:g} fps" if fps else ""
    sizes = ", ".join(dict.fromkeys(_sizes(offered))) or "none that can be read"
    raise UserError(
        f"{device}: no frames of {width} x {height}{at}: it offers {sizes} "
        "(--width, --height, --fps; v4l2-ctl --list-formats-ext)"
    )


def _sizes(offered: Any) -> list[str]:
    found = []
    for number in range(offered.get_size()):
        structure = offered.get_structure(number)
        width, height = structure.get_int("width"), structure.get_int("height")
        if structure.get_name() in MEDIA_TYPES.values() and width[0] and height[0]:
            found.append(f"{width[1]} x {height[1]}")
    return found[:MAX_LISTED_SIZES]
