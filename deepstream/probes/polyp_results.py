"""Polyps of each frame as data: listed, tracked, written as JSON lines, posted to the bus."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

from deepstream.gstreamer import GObject, Gst
from xpnet.frames import Segmentation
from xpnet.polyps import Polyp, PolypTracker, Writable, find_polyps, write_line

POLYPS = "xpnet-polyps"
"""Name of the structure in the element message of each frame."""

OnPolyps = Callable[[int, "int | None", "list[Polyp] | None"], None]
"""Called with the frame's number, its timestamp in nanoseconds, and its polyps."""


class PolypResults:
    """Lists the polyps of every frame that leaves the overlay, in order, in the overlay's thread.

    A failure to write or to call back is counted and does not stop the video.

    Attributes:
        error: The first failure; empty if there was none.
        errors: Number of failures.
    """

    def __init__(self, stream: Writable | None = None, on_polyps: OnPolyps | None = None) -> None:
        self._stream, self._on_polyps = stream, on_polyps
        self.error, self.errors = "", 0
        self._tracker = PolypTracker()
        self._at = (0.0, time.monotonic())  # newest stream time, and the clock at that moment
        self._frames = 0
        self._last: tuple[Segmentation, list[Polyp]] | None = None

    def frame(
        self, segmentation: Segmentation | None, timestamp_ns: int | None, time_ns: int | None
    ) -> list[Polyp] | None:
        """Return the polyps of the mask that a frame shows, with ids; None if it shows no mask.

        Args:
            segmentation: The mask, or None.
            timestamp_ns: Timestamp of the frame's buffer.
            time_ns: Stream time of the frame, which the JSON line contains.
        """
        number = self._frames
        self._frames += 1
        polyps = self._track(segmentation, timestamp_ns)
        for report, when in ((self._write, time_ns), (self._call, timestamp_ns)):
            try:
                report(number, when, polyps)
            except Exception as error:
                self.error = self.error or f"{type(error).__name__}: {error}"
                self.errors += 1
        return polyps

    def _track(
        self, segmentation: Segmentation | None, timestamp_ns: int | None
    ) -> list[Polyp] | None:
        """Track each mask once, even if several frames show it; no mask interrupts a track."""
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
        """Return the stream time; without a timestamp, extrapolate with the clock."""
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
    """Post an element message with `timestamp` (uint64, nanoseconds) and `polyps` (JSON list).

    GStreamer has GstAnalytics for this only since 1.26.

    Args:
        pad: A pad of the element that posts the message.
        timestamp_ns: Timestamp of the frame's buffer, or None.
        polyps: Polyps of the frame.
    """
    structure = Gst.Structure.new_empty(POLYPS)
    if timestamp_ns is not None:
        structure.set_value("timestamp", GObject.Value(GObject.TYPE_UINT64, timestamp_ns))
    structure.set_value("polyps", json.dumps([polyp.as_dict() for polyp in polyps]))
    element = pad.get_parent_element()
    element.post_message(Gst.Message.new_element(element, structure))
