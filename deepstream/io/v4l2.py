"""What a V4L2 device is asked for: raw frames where it has them at that size, MJPEG otherwise."""

from __future__ import annotations

from typing import Any

from deepstream.gstreamer import Gst, require_elements
from deepstream.io.frame_rate import rate
from xpnet.errors import UserError

FORMS = {"v4l2": "video/x-raw", "v4l2-jpeg": "image/jpeg"}
"""By kind of source, the better first: many cameras give their full size or rate as MJPEG alone."""
SHOWN = 6
"""Sizes named in a message."""


def rate_caps(fps: float) -> str:
    """The end of a caps string that asks for a rate; empty for 0, the device's own."""
    exact = rate(fps)
    return f",framerate={exact.numerator}/{exact.denominator}" if fps else ""


def choose_form(device: str, height: int, width: int, fps: float) -> str:
    """`v4l2` or `v4l2-jpeg`: as what the device delivers that size.

    Raises:
        UserError: the device cannot be opened, or has no such size or rate.
    """
    require_elements(["v4l2src"])
    source = Gst.ElementFactory.make("v4l2src")
    source.set_property("device", device)
    try:
        if source.set_state(Gst.State.READY) == Gst.StateChangeReturn.FAILURE:
            raise UserError(f"{device}: cannot be opened: in use, or no capture device")
        return form_of(device, source.get_static_pad("src").query_caps(None), height, width, fps)
    finally:
        source.set_state(Gst.State.NULL)


def form_of(device: str, offered: Any, height: int, width: int, fps: float) -> str:
    """As `choose_form`, of the caps that a device offers."""
    for kind, media in FORMS.items():
        wanted = f"{media},width={width},height={height}{rate_caps(fps)}"
        if offered.can_intersect(Gst.Caps.from_string(wanted)):
            return kind
    at = f" at {fps:g} a second" if fps else ""
    sizes = ", ".join(dict.fromkeys(_sizes(offered))) or "none that we read"
    raise UserError(
        f"{device}: no frames of {width} x {height}{at}: it offers {sizes} "
        "(--width, --height, --fps; v4l2-ctl --list-formats-ext)"
    )


def _sizes(offered: Any) -> list[str]:
    found = []
    for number in range(offered.get_size()):
        structure = offered.get_structure(number)
        width, height = structure.get_int("width"), structure.get_int("height")
        if structure.get_name() in FORMS.values() and width[0] and height[0]:
            found.append(f"{width[1]} x {height[1]}")
    return found[:SHOWN]
