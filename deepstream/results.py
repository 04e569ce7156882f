"""Polyps of each frame as data: found, followed, written as JSON lines, posted to the bus."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, TextIO

from deepstream.gstreamer import GObject, Gst
from xpnet.frames import Segmentation
from xpnet.polyps import Polyp, PolypTracker, find_polyps, write_line

POLYPS = "xpnet-polyps"
"""Name of the structure in the element message of each frame."""

OnPolyps = Callable[[int, "int | None", "list[Polyp] | None"], None]
"""Called with the frame's number, its timestamp in nanoseconds, and its polyps."""


class PolypResults:
    """Takes every frame that leaves the overlay, in order, in the overlay's thread.

    `stream` gets a line of JSON for each, `on_polyps` a call.
    """

    def __init__(self, stream: TextIO | None = None, on_polyps: OnPolyps | None = None) -> None:
        self._stream, self._on_polyps = stream, on_polyps
        self._tracker = PolypTracker()
        self._frames = 0
        self._last: tuple[Segmentation, list[Polyp]] | None = None

    def frame(
        self, segmentation: Segmentation | None, timestamp_ns: int | None
    ) -> list[Polyp] | None:
        """The polyps of the mask that the frame shows, with ids; None where it shows no mask."""
        number = self._frames
        self._frames += 1
        polyps = None
        if segmentation is not None:
            if self._last is None or self._last[0] is not segmentation:  # mode `latest` repeats
                found = find_polyps(segmentation.mask, segmentation.probabilities)
                self._last = (segmentation, found)
            polyps = self._tracker.update(self._last[1], (timestamp_ns or 0) / 1e9)
        if self._stream is not None:
            write_line(self._stream, number, timestamp_ns, polyps)
        if self._on_polyps is not None:
            self._on_polyps(number, timestamp_ns, polyps)
        return polyps


def post_polyps(pad: Any, timestamp_ns: int | None, polyps: list[Polyp]) -> None:
    """Posts an element message: `timestamp` (uint64, nanoseconds) and `polyps` (JSON, a list).

    GStreamer has GstAnalytics for this only from 1.26 on.
    """
    structure = Gst.Structure.new_empty(POLYPS)
    if timestamp_ns is not None:
        structure.set_value("timestamp", GObject.Value(GObject.TYPE_UINT64, timestamp_ns))
    structure.set_value("polyps", json.dumps([polyp.as_dict() for polyp in polyps]))
    element = pad.get_parent_element()
    element.post_message(Gst.Message.new_element(element, structure))
