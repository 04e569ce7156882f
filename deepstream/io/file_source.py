"""A file source: gives every frame a timestamp that is later than that of the frame before."""

from __future__ import annotations

import logging
from typing import Any

from deepstream.gstreamer import Gst
from deepstream.probes.pixels import set_timestamp_ns, timestamp_ns

log = logging.getLogger("xpnet.graph")

STEP_NS = 1_000_000
"""Time between a frame without a later timestamp of its own and the frame before."""


class RisingTimestamps:
    """A probe that repairs the timestamps of decoded frames.

    Joined recordings, damaged ones and old AVI files have frames with the same or an earlier time.
    No encoder accepts them, and the muxer would stop at the first. Each gets a time just after the
    frame before, so that no frame is lost and the frames behind keep their own times.

    Attributes:
        repaired: Number of frames whose timestamp was changed.
    """

    def __init__(self, pad: Any) -> None:
        self._last_ns = -1
        self.repaired = 0
        kinds = Gst.PadProbeType.BUFFER | Gst.PadProbeType.EVENT_DOWNSTREAM
        pad.add_probe(kinds, self._passes)

    def _passes(self, _pad: Any, info: Any) -> Any:
        if info.type & Gst.PadProbeType.EVENT_DOWNSTREAM:
            if info.get_event().type == Gst.EventType.SEGMENT:  # it maps timestamps to a new time
                self._last_ns = -1
            return Gst.PadProbeReturn.OK
        stamp = timestamp_ns(info)
        if stamp is None or stamp <= self._last_ns:
            stamp = self._last_ns + STEP_NS if self._last_ns >= 0 else 0
            set_timestamp_ns(info, stamp)
            if not self.repaired:
                log.warning("timestamps of the file do not increase: repaired")
            self.repaired += 1
        self._last_ns = stamp
        return Gst.PadProbeReturn.OK
