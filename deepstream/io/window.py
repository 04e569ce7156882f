"""The window of `--output screen` on plain GStreamer: of the first kind that opens here."""

from __future__ import annotations

import os
from collections.abc import Mapping

from deepstream.gstreamer import Gst
from xpnet.errors import UserError

WINDOWS = {"DISPLAY": ("xvimagesink", "ximagesink"), "WAYLAND_DISPLAY": ("waylandsink",)}
"""Elements by the environment variable that names their desktop, the best one first. X11 is tried
first: Wayland desktops offer it, too, through Xwayland, and waylandsink of GStreamer 1.22 passes on
no keys. With autovideosink the process crashed if no window could be opened."""


def usable_window(environ: Mapping[str, str] = os.environ) -> str:
    """Return the factory name of the first element of WINDOWS that can open a window.

    Args:
        environ: The environment variables of this process.

    Raises:
        UserError: None can.
    """
    names = [name for key, kinds in WINDOWS.items() if environ.get(key) for name in kinds]
    installed = [name for name in names if Gst.ElementFactory.find(name) is not None]
    if not installed:
        raise UserError(
            f"--output screen: GStreamer lacks {', '.join(names)}: apt install gstreamer1.0-x "
            "(X11) or gstreamer1.0-plugins-bad (Wayland)"
        )
    for name in installed:
        if _opens(name):
            return name
    desktops = " or ".join(f"{key}={environ[key]}" for key in WINDOWS if environ.get(key))
    raise UserError(
        f"--output screen: no window can be opened on {desktops} (tried {', '.join(installed)}): "
        "does the desktop run, and may this user use it?"
    )


def _opens(name: str) -> bool:
    """Return whether an element finds its desktop, which it looks for when it becomes ready."""
    element = Gst.ElementFactory.make(name)
    if element is None:
        return False
    found = element.set_state(Gst.State.READY)
    element.set_state(Gst.State.NULL)
    return found != Gst.StateChangeReturn.FAILURE
