"""Polyps of each frame as data: found, followed, written as JSON lines, posted to the bus."""

from __future__ import annotations

import json
import time
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

    `stream` gets a line of JSON for each, `on_polyps` a call. Where one of them fails, as on a
    full disk, that is counted, and the frame keeps its polyps.
    """

    def __init__(self, stream: TextIO | None = None, on_polyps: OnPolyps | None = None) -> None:
        self._stream, self._on_polyps = stream, on_polyps
        self.error, self.errors = "", 0  # the first reason, and how many
        self._tracker = PolypTracker()
        self._at = (0.0, time.monotonic())  # the stream's newest time, and the clock's then
        self._frames = 0
        self._last: tuple[Segmentation, list[Polyp]] | None = None

    def frame(
        self, segmentation: Segmentation | None, timestamp_ns: int | None, time_ns: int | None
    ) -> list[Polyp] | None:
        """The polyps of the mask that the frame shows, with ids; None where it shows no mask.

        `timestamp_ns` is the buffer's, as that of its Segmentation; `time_ns` its place in the
        stream, which the line of JSON tells.
        """
        number = self._frames
        self._frames += 1
        polyps = self._follow(segmentation, timestamp_ns)
        for tell, when in ((self._write, time_ns), (self._call, timestamp_ns)):
            try:
                tell(number, when, polyps)
            except Exception as error:
                self.error = self.error or f"{type(error).__name__}: {error}"
                self.errors += 1
        return polyps

    def _follow(
        self, segmentation: Segmentation | None, timestamp_ns: int | None
    ) -> list[Polyp] | None:
        """One mask counts once, however many frames show it; a frame without one breaks a row."""
        if segmentation is None:
            self._last = None
            self._tracker.update([], self._seconds(timestamp_ns))
            return None
        if self._last is None or self._last[0] is not segmentation:
            found = find_polyps(segmentation.mask, segmentation.probabilities)
            time_s = self._seconds(segmentation.timestamp_ns)
            self._last = (segmentation, self._tracker.update(found, time_s))
        return self._last[1]

    def _seconds(self, timestamp_ns: int | None) -> float:
        """Of the stream; where a frame has no time, as the clock went on since."""
        if timestamp_ns is None:
            return self._at[0] + time.monotonic() - self._at[1]
        self._at = (timestamp_ns / 1e9, time.monotonic())
        return self._at[0]

    def _write(self, number: int, time_ns: int | None, polyps: list[Polyp] | None) -> None:
        if self._stream is not None:
            write_line(self._stream, number, time_ns, polyps)

    def _call(self, number: int, timestamp_ns: int | None, polyps: list[Polyp] | None) -> None:
        if self._on_polyps is not None:
            self._on_polyps(number, timestamp_ns, polyps)


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
