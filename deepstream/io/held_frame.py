"""Repeats the last frame of a live source that delivers none: the picture does not go dark."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from deepstream.gstreamer import Gst
from deepstream.statistics import RunStatistics

LOST_S = 0.5
"""A source without a frame for so long counts as lost; a viewer sees it within a second."""
LOST_FRAMES = 2.5
"""A slow source counts as lost after so many missing frames."""
STEP_S = 0.04
"""Time between two repetitions."""

COPY = Gst.BufferCopyFlags.FLAGS | Gst.BufferCopyFlags.META | Gst.BufferCopyFlags.MEMORY
"""The new buffer refers to the same pixels."""


@contextmanager
def holding_last_frame(
    arriving: Any, leaving: Any, fps: float, statistics: RunStatistics
) -> Iterator[None]:
    """Repeat the last frame of a source whenever no other arrives, during the `with` block.

    The repetitions have timestamps that go on; `statistics.source_lost` says that they are such.

    Args:
        arriving: The pad at which the source's frames arrive.
        leaving: A later pad; the frame that passed it last is the one that is repeated.
        fps: Its frame rate; 0 if unknown.
        statistics: Gets `source_lost`.
    """
    held = _HeldFrame(arriving, leaving, max(LOST_S, LOST_FRAMES / fps if fps else 0.0), statistics)
    thread = threading.Thread(target=held.work, name="held-frame", daemon=True)
    thread.start()
    try:
        yield
    finally:
        held.stop.set()
        thread.join(timeout=2)


class _HeldFrame:
    def __init__(
        self, arriving: Any, leaving: Any, lost_s: float, statistics: RunStatistics
    ) -> None:
        self._lost_s = lost_s
        self._pad, self._statistics = leaving, statistics
        self._last: tuple[Any, float] | None = None  # a buffer, and when it left
        self._copied: Any = None  # the buffer in `_last` if it is a copy
        # A device's own memory must not be kept: it could not be opened again. Behind the element
        # `held` it is no device's, and no memory of the CPU either.
        self._copies = arriving.get_parent_element() == leaving.get_parent_element()
        self._arrived_s = time.monotonic()
        self._lock = threading.Lock()  # of `_arrived_s` together with `source_lost`
        self.stop = threading.Event()
        arriving.add_probe(Gst.PadProbeType.BUFFER, self._arrives)
        self._pad.add_probe(Gst.PadProbeType.BUFFER, self._leaves)

    def _arrives(self, _pad: Any, _info: Any) -> Any:
        with self._lock:
            self._arrived_s = time.monotonic()
            self._statistics.source_lost = False
        return Gst.PadProbeReturn.OK

    def _leaves(self, _pad: Any, info: Any) -> Any:
        """Keep a frame of the source; a repetition passes here, too, in the thread of `work`."""
        if threading.current_thread().name != "held-frame":
            self._last = info.get_buffer(), time.monotonic()
        return Gst.PadProbeReturn.OK

    def work(self) -> None:
        while not self.stop.wait(STEP_S):
            last = self._last
            if last is None or last[0].pts == Gst.CLOCK_TIME_NONE:
                continue
            with self._lock:
                # A frame that arrived and did not leave waits for a slow graph: nothing is lost.
                if time.monotonic() - self._arrived_s < self._lost_s:
                    continue
                self._statistics.source_lost = True
            buffer, left_s = last
            if self._copies and buffer is not self._copied:
                self._copied = buffer = buffer.copy_deep()
                if self._last is last:
                    self._last = buffer, left_s
            # PyGObject's Gst.Buffer.copy returns the same buffer.
            again = buffer.copy_region(COPY, 0, buffer.get_size())
            again.pts = buffer.pts + round((time.monotonic() - left_s) * Gst.SECOND)
            again.dts = Gst.CLOCK_TIME_NONE
            again.duration = Gst.CLOCK_TIME_NONE
            if self._pad.push(again) in (Gst.FlowReturn.EOS, Gst.FlowReturn.ERROR):
                return
