"""Timestamps of a file's frames, which must increase."""

from __future__ import annotations

from deepstream.gstreamer import Gst
from deepstream.io.file_source import RisingTimestamps


def test_frame_without_a_later_timestamp_gets_one_just_behind_the_frame_before() -> None:
    pipeline = Gst.parse_launch("appsrc name=source format=time ! appsink name=sink sync=false")
    repair = RisingTimestamps(pipeline.get_by_name("sink").get_static_pad("sink"))
    pipeline.set_state(Gst.State.PLAYING)
    pushed = []
    for stamp in (40, 80, 80, 60, None, 120, 160):
        buffer = Gst.Buffer.new_wrapped(b"frame")
        if stamp is not None:
            buffer.pts = stamp * Gst.MSECOND
        pushed.append(buffer)  # kept, so that the probe must not change a shared buffer
        pipeline.get_by_name("source").emit("push-buffer", buffer)
    pipeline.get_by_name("source").emit("end-of-stream")
    found = []
    while (sample := pipeline.get_by_name("sink").emit("try-pull-sample", Gst.SECOND)) is not None:
        found.append(sample.get_buffer().pts // Gst.MSECOND)
    pipeline.set_state(Gst.State.NULL)
    assert found == [40, 80, 81, 82, 83, 120, 160]
    assert repair.repaired == 3
    assert [b.pts // Gst.MSECOND for b in pushed[:4]] == [40, 80, 80, 60]
