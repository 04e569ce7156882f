"""A live source: drops frames whose timestamps do not increase, and restarts after a failure.

The queue `leaky` separates the source from the graph. An end of stream of the source stops at that
queue; the player decides what follows. While the source delivers nothing, its last frame is
repeated from the element that `held_pad` names.
"""

from __future__ import annotations

from typing import Any

from deepstream.graph.description import Description
from deepstream.gstreamer import Gst
from deepstream.io.queue_losses import QueueLosses
from deepstream.probes.pixels import (
    buffer_address,
    replace_event,
    running_time_ns,
    set_timestamp_ns,
    timestamp_ns,
)

ENDED = "xpnet-source-ended"
"""Name of the application message that a live source ended its stream."""
PACING = "pacing"
"""Name of the element that delays the frames of a file until their time."""
MAX_OVERLAP_NS = 2_000_000_000
"""By how much a frame may be earlier than the one before and count as late."""
RECONNECTS = "rtsp-reconnect-interval"
"""Property of nvurisrcbin, which reconnects by itself."""


class LiveSource:
    """The elements of a pipeline before the queue `leaky`.

    Attributes:
        repeats: Whether a stream that ended is played again.
    """

    def __init__(self, pipeline: Any, description: Description) -> None:
        names = description.source_elements[: description.source_elements.index("leaky")]
        self._elements = [pipeline.get_by_name(name) for name in names if name != PACING]
        self._reconnects = RECONNECTS in description.element(names[0]).properties
        self._last_ns = -MAX_OVERLAP_NS
        self._finished = False
        self._pipeline, self._shift_ns = pipeline, 0
        kinds = Gst.PadProbeType.BUFFER | Gst.PadProbeType.EVENT_DOWNSTREAM
        pacing = pipeline.get_by_name(PACING)
        self.repeats = pacing is not None
        if pacing is not None:
            pacing.get_static_pad("sink").add_probe(kinds, self._shift)
        fresh = pipeline.get_by_name("leaky")
        self._losses = QueueLosses(fresh.props.max_size_buffers)
        fresh.get_static_pad("sink").add_probe(kinds, self._on_arrival)
        fresh.get_static_pad("src").add_probe(Gst.PadProbeType.BUFFER, self._settle)
        held_pad(pipeline).add_probe(kinds, self._on_departure)

    @property
    def arrived(self) -> int:
        """Number of frames that the source has delivered."""
        return self._losses.arrived

    @property
    def lost(self) -> int:
        """Number of them that the queue dropped, because the graph was slower."""
        return self._losses.lost

    @property
    def settled(self) -> int:
        """Number of them that no longer wait in the queue; `finish` lets those go unseen."""
        return self._losses.settled

    def finish(self) -> None:
        """Let nothing of the source pass any more; call it before the end of stream is sent.

        A source that starts again would undo the end of stream, and GStreamer's queue was seen to
        end the process then (gst_queue_leak_downstream: assertion failed).
        """
        self._finished = True

    def restart(self) -> None:
        """Restart the source, unless it reconnects by itself; a failure is posted as an error."""
        if self._reconnects or self._finished:
            return
        for element in self._elements:
            element.set_state(Gst.State.NULL)
        if self.repeats:
            clock = self._pipeline.get_clock()
            self._shift_ns = clock.get_time() - self._pipeline.get_base_time()
        for element in reversed(self._elements):
            element.sync_state_with_parent()

    def _shift(self, _pad: Any, info: Any) -> Any:
        """Move a frame of a repetition to the time at which the repetition started."""
        if info.type & Gst.PadProbeType.EVENT_DOWNSTREAM:
            _open_segment(info)
            return Gst.PadProbeReturn.OK
        stamp = timestamp_ns(info)
        if stamp is not None and self._shift_ns:
            set_timestamp_ns(info, stamp + self._shift_ns)
        return Gst.PadProbeReturn.OK

    def _on_arrival(self, pad: Any, info: Any) -> Any:
        if info.type & Gst.PadProbeType.BUFFER:
            self._losses.arrive(buffer_address(info))
            return Gst.PadProbeReturn.OK
        if info.get_event().type != Gst.EventType.EOS:
            return Gst.PadProbeReturn.OK
        element = pad.get_parent_element()
        ended = Gst.Structure.new_empty(ENDED)
        element.post_message(Gst.Message.new_application(element, ended))
        return Gst.PadProbeReturn.DROP

    def _settle(self, _pad: Any, info: Any) -> Any:
        """Count a frame that leaves the queue, unless the run has ended."""
        if not self._finished:
            self._losses.leave(buffer_address(info))
        return Gst.PadProbeReturn.OK

    def _on_departure(self, pad: Any, info: Any) -> Any:
        """Drop a frame that is not later than the previous one: no encoder accepts it.

        Cameras send such frames after a lost packet, and with B-frames; and a source that is back
        may start just before the last repetition of its old frame. A jump back by more is a new
        start of the time.
        """
        if self._finished:
            return Gst.PadProbeReturn.DROP
        if info.type & Gst.PadProbeType.EVENT_DOWNSTREAM:
            _open_segment(info)
            return Gst.PadProbeReturn.OK
        stamp = timestamp_ns(info)
        if stamp is None:
            return Gst.PadProbeReturn.DROP
        running_ns = running_time_ns(pad, stamp)
        if 0 <= self._last_ns - running_ns < MAX_OVERLAP_NS:
            return Gst.PadProbeReturn.DROP
        self._last_ns = running_ns
        return Gst.PadProbeReturn.OK


def held_pad(pipeline: Any) -> Any:
    """Return the pad behind which a live source's frames may be kept and repeated.

    That of the element `held`, which copies frames out of a decoder's memory, or of the queue
    itself.
    """
    return (pipeline.get_by_name("held") or pipeline.get_by_name("leaky")).get_static_pad("src")


def _open_segment(info: Any) -> None:
    """Remove the end of a segment, if a probe's event is one.

    A camera may state the length of its stream, and a file has one. Encoders drop frames behind it,
    such as repetitions of the last frame.
    """
    event = info.get_event()
    if event.type != Gst.EventType.SEGMENT:
        return
    found, endless = event.parse_segment(), Gst.Segment()
    if found.format == Gst.Format.TIME and found.stop != Gst.CLOCK_TIME_NONE:
        endless.init(Gst.Format.TIME)
        endless.start, endless.time, endless.base = found.start, found.time, found.base
        replace_event(info, Gst.Event.new_segment(endless))
