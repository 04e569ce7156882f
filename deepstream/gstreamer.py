"""GStreamer's Python binding, imported once, with one error line if it is missing."""

from __future__ import annotations

import ctypes
from collections.abc import Iterable

from xpnet.errors import UserError

# GStreamer loads libunwind into the global symbol table. C++ libraries loaded after it then use the
# wrong unwinder, and their first exception, caught or not, ends the process (seen with torch).
# Loading the compiler's own library first gives it precedence.
ctypes.CDLL("libgcc_s.so.1", mode=ctypes.RTLD_GLOBAL)

try:
    import gi

    gi.require_version("Gst", "1.0")
    gi.require_version("GstPbutils", "1.0")
    gi.require_version("GstVideo", "1.0")
    from gi.repository import GLib, GObject, Gst, GstPbutils, GstVideo
except (ImportError, ValueError) as error:
    raise UserError(
        f"GStreamer's Python binding is missing ({error}): run scripts/setup.sh, and use the "
        "Python of its virtual environment"
    ) from error

Gst.init(None)

ELEMENTS = {
    "uridecodebin": "gstreamer1.0-plugins-base",
    "appsrc": "gstreamer1.0-plugins-base",
    "videoconvert": "gstreamer1.0-plugins-base",
    "videoscale": "gstreamer1.0-plugins-base",
    "audioconvert": "gstreamer1.0-plugins-base",
    "audioresample": "gstreamer1.0-plugins-base",
    "deinterlace": "gstreamer1.0-plugins-good",
    "videoflip": "gstreamer1.0-plugins-good",
    "videocrop": "gstreamer1.0-plugins-good",
    "clocksync": "gstreamer1.0-plugins-base",
    "x264enc": "gstreamer1.0-plugins-ugly",
    "h264parse": "gstreamer1.0-plugins-bad",
    "mp4mux": "gstreamer1.0-plugins-good",
    "matroskamux": "gstreamer1.0-plugins-good",
    "avenc_aac": "gstreamer1.0-libav",
    "aacparse": "gstreamer1.0-plugins-good",
}
"""Elements of a graph from file to file, with the Debian packages that contain them."""


OPTIONAL = {
    "rtspsrc": "gstreamer1.0-plugins-good",
    "decodebin": "gstreamer1.0-plugins-base",
    "v4l2src": "gstreamer1.0-plugins-good",
    "jpegdec": "gstreamer1.0-plugins-good",
    "decklinkvideosrc": "gstreamer1.0-plugins-bad",
    "rtph264pay": "gstreamer1.0-plugins-good",
    "rtph264depay": "gstreamer1.0-plugins-good",
    "udpsink": "gstreamer1.0-plugins-good",
    "ximagesink": "gstreamer1.0-x",
    "xvimagesink": "gstreamer1.0-x",
    "waylandsink": "gstreamer1.0-plugins-bad",
}
"""Further elements of live sources, the screen and RTSP."""


def has_element(name: str) -> bool:
    """Return whether GStreamer has an element of this name and can load it."""
    factory = Gst.ElementFactory.find(name)
    return factory is not None and factory.load() is not None


def missing_elements() -> dict[str, str]:
    """Return the elements of ELEMENTS that are not installed, with their packages."""
    return {name: pkg for name, pkg in ELEMENTS.items() if Gst.ElementFactory.find(name) is None}


def require_elements(names: Iterable[str] = tuple(ELEMENTS)) -> None:
    """Check that elements are installed.

    Args:
        names: Factory names.

    Raises:
        UserError: Elements are missing; the message names them and their packages.
    """
    missing = [name for name in names if Gst.ElementFactory.find(name) is None]
    if missing:
        known = ELEMENTS | OPTIONAL
        packages = " ".join(sorted({known[name] for name in missing if name in known}))
        how = f"apt install {packages}" if packages else "they come with NVIDIA DeepStream"
        raise UserError(f"GStreamer lacks {', '.join(missing)}: {how}")


__all__ = [
    "ELEMENTS",
    "GLib",
    "GObject",
    "Gst",
    "GstPbutils",
    "GstVideo",
    "gi",
    "has_element",
    "missing_elements",
    "require_elements",
]
