"""A live source: drops frames whose timestamps do not increase, and restarts after a failure.

The queue `leaky` separates the source from the graph. An end of stream of the source stops at that
queue; the player decides what follows.
"""

from __future__ import annotations

from typing import Any

from deepstream.graph.description import Description
from deepstream.gstreamer import Gst
from deepstream.probes.pixels import timestamp_ns

ENDED = "xpnet-source-ended"
"""Name of the application message that a live source ended its stream."""
RECONNECTS = "rtsp-reconnect-interval"
"""Property of nvurisrcbin, which reconnects by itself."""


class LiveSource:
    """The elements of a pipeline before the queue `leaky`.

    Attributes:
        arrived: Number of frames that the source has delivered.
    """

    def __init__(self, pipeline: Any, description: Description) -> None:
        names = description.source_elements[: description.source_elements.index("leaky")]
        self._elements = [pipeline.get_by_name(name) for name in names]
        self._reconnects = RECONNECTS in description.element(names[0]).properties
        self._last_ns = -1
        self.arrived = 0
        fresh = pipeline.get_by_name("leaky")
        kinds = Gst.PadProbeType.BUFFER | Gst.PadProbeType.EVENT_DOWNSTREAM
        fresh.get_static_pad("sink").add_probe(kinds, self._on_arrival)
        fresh.get_static_pad("src").add_probe(kinds, self._on_departure)

    def restart(self) -> None:
        """Restart the source, unless it reconnects by itself; a failure is posted as an error."""
        if self._reconnects:
            return
        for element in self._elements:
            element.set_state(Gst.State.NULL)
        for element in reversed(self._elements):
            element.sync_state_with_parent()

    def _on_arrival(self, pad: Any, info: Any) -> Any:
        if info.type & Gst.PadProbeType.BUFFER:
            self.arrived += 1
            return Gst.PadProbeReturn.OK
        if info.get_event().type != Gst.EventType.EOS:
            return Gst.PadProbeReturn.OK
        element = pad.get_parent_element()
        ended = Gst.Structure.new_empty(ENDED)
        element.post_message(Gst.Message.new_application(element, ended))
        return Gst.PadProbeReturn.DROP

    def _on_departure(self, _pad: Any, info: Any) -> Any:
        """Drop a frame that is not later than the previous one: no encoder accepts it.

        Cameras send such frames after a lost packet, and with B-frames. A new segment resets the
        time.
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
