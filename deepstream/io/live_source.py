"""A live source: no frame twice, and back again after it broke off.

Between it and the graph stands the queue `fresh`. What happens before that queue, an end of the
stream too, does not reach the graph: the player decides.
"""

from __future__ import annotations

from typing import Any

from deepstream.graph.description import Description
from deepstream.gstreamer import Gst
from deepstream.probes.pixels import timestamp_ns

ENDED = "xpnet-source-ended"
"""Name of the application message that a live source said goodbye."""
RECONNECTS = "rtsp-reconnect-interval"
"""The property by which nvurisrcbin reconnects by itself."""


class LiveSource:
    """The elements before `fresh` of a built pipeline."""

    def __init__(self, pipeline: Any, description: Description) -> None:
        names = description.sources[: description.sources.index("fresh")]
        self._elements = [pipeline.get_by_name(name) for name in names]
        self._reconnects = RECONNECTS in description.element(names[0]).properties
        self._last_ns = -1
        self.arrived = 0
        """Frames that came from the source."""
        fresh = pipeline.get_by_name("fresh")
        kinds = Gst.PadProbeType.BUFFER | Gst.PadProbeType.EVENT_DOWNSTREAM
        fresh.get_static_pad("sink").add_probe(kinds, self._arrives)
        fresh.get_static_pad("src").add_probe(kinds, self._leaves)

    def restart(self) -> None:
        """Opens the source anew, unless it does so by itself; a failure comes as an error again."""
        if self._reconnects:
            return
        for element in self._elements:
            element.set_state(Gst.State.NULL)
        for element in reversed(self._elements):
            element.sync_state_with_parent()

    def _arrives(self, pad: Any, info: Any) -> Any:
        if info.type & Gst.PadProbeType.BUFFER:
            self.arrived += 1
            return Gst.PadProbeReturn.OK
        if info.get_event().type != Gst.EventType.EOS:
            return Gst.PadProbeReturn.OK
        element = pad.get_parent_element()
        ended = Gst.Structure.new_empty(ENDED)
        element.post_message(Gst.Message.new_application(element, ended))
        return Gst.PadProbeReturn.DROP

    def _leaves(self, _pad: Any, info: Any) -> Any:
        """Drops a frame that is not later than the one before it: no encoder could date it.

        Cameras send such frames after a lost packet, and where they use B-frames. A new segment
        counts its time anew.
        """
        if info.type & Gst.PadProbeType.EVENT_DOWNSTREAM:
            if info.get_event().type == Gst.EventType.SEGMENT:
                self._last_ns = -1
            return Gst.PadProbeReturn.OK
        stamp = timestamp_ns(info)
        if stamp is None or stamp <= self._last_ns:
            return Gst.PadProbeReturn.DROP
        self._last_ns = stamp
        return Gst.PadProbeReturn.OK
