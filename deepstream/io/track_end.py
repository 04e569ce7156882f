"""The end of an encoded track: mp4mux needs the right duration of the last frame."""

from __future__ import annotations

from typing import Any

from deepstream.gstreamer import Gst
from deepstream.probes.pixels import BufferTimes, buffer_times, set_duration_ns


class CompleteTrack:
    """Sets the duration of a track's last buffer so that the track ends with its last frame.

    mp4mux takes the length of a track from decoding times. With B-frames the last buffer is not the
    last frame; with a variable frame rate the track would end too early, and players would leave
    out the last frames (gst_qt_mux_add_buffer in gstqtmux.c).

    Args:
        encoder: A software encoder, which returns one buffer for each frame.
        parser: The h264parse behind it, which sets durations of its own.
    """

    def __init__(self, encoder: Any, parser: Any) -> None:
        self._entered, self._left, self._ended = 0, 0, False
        self._first: BufferTimes | None = None
        self._end_ns = 0
        kinds = Gst.PadProbeType.BUFFER | Gst.PadProbeType.EVENT_DOWNSTREAM
        encoder.get_static_pad("sink").add_probe(kinds, self._enters)
        parser.get_static_pad("src").add_probe(Gst.PadProbeType.BUFFER, self._leaves)

    def _enters(self, _pad: Any, info: Any) -> Any:
        if info.type & Gst.PadProbeType.BUFFER:
            self._entered += 1
        elif info.get_event().type == Gst.EventType.EOS:
            self._ended = True  # the encoder returns its remaining frames while it handles this
        return Gst.PadProbeReturn.OK

    def _leaves(self, _pad: Any, info: Any) -> Any:
        self._left += 1
        times = buffer_times(info)
        if times is None:
            return Gst.PadProbeReturn.OK
        first = self._first = self._first or times
        self._end_ns = max(self._end_ns, times.pts_ns + times.duration_ns)
        if self._ended and self._left == self._entered:
            length_ns = self._end_ns - first.pts_ns
            set_duration_ns(info, max(0, length_ns - (times.dts_ns - first.dts_ns)))
        return Gst.PadProbeReturn.OK
