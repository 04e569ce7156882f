"""The leaky queue behind a live source."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from deepstream.graph.description import ElementSpec, assemble_description
from deepstream.graph.element_tables import LEAKY_QUEUE
from deepstream.graph.pipeline_builder import build
from deepstream.gstreamer import Gst
from deepstream.io.live_source import ENDED, LiveSource

pytestmark = pytest.mark.integration

TABLE = {
    "frame": (ElementSpec("identity", "input", {"silent": "true"}, accepts_eos=True),),
    "inference.every": (),
    "overlay": (),
    "sink.screen": (ElementSpec("appsink", "sink", {"sync": "false", "max-buffers": "1"}),),
}


@contextmanager
def started(*source: ElementSpec) -> Iterator[tuple[Any, LiveSource]]:
    """Return a playing graph behind the elements of a live source."""
    table = {**TABLE, "source.test": (*source, LEAKY_QUEUE)}
    description = assemble_description(
        "test", table, "test", "screen", "every", "", {"waiting": "1"}
    )
    pipeline = build(description)
    live = LiveSource(pipeline, description)
    pipeline.set_state(Gst.State.PLAYING)
    try:
        yield pipeline, live
    finally:
        pipeline.set_state(Gst.State.NULL)


@contextmanager
def playing() -> Iterator[Any]:
    with started(ElementSpec("appsrc", "source", {"format": "time"})) as (pipeline, _):
        yield pipeline


def push(pipeline: Any, *milliseconds: int) -> None:
    for number in milliseconds:
        buffer = Gst.Buffer.new_wrapped(b"frame")
        buffer.pts = number * Gst.MSECOND
        pipeline.get_by_name("source").emit("push-buffer", buffer)


def pulled(pipeline: Any, timeout_s: float = 0.3) -> Iterator[int]:
    sink = pipeline.get_by_name("sink")
    while (
        sample := sink.emit("try-pull-sample", round(timeout_s * Gst.SECOND))
    ) is not None:  # fmt: skip
        yield sample.get_buffer().pts // Gst.MSECOND


def test_slow_graph_gets_the_newest_frame() -> None:
    with playing() as pipeline:
        push(pipeline, *range(1, 101))
        source = pipeline.get_by_name("source")
        while source.get_property("current-level-bytes"):  # until all frames have reached the queue
            time.sleep(0.01)
        seen = list(pulled(pipeline))
    assert seen[-1] == 100
    assert len(seen) <= 5


def test_frame_with_an_older_timestamp_is_dropped() -> None:
    seen = []
    with playing() as pipeline:
        for stamp in (40, 80, 80, 60):
            push(pipeline, stamp)
            seen += list(pulled(pipeline, 0.1))
        assert seen == [40, 80]
        segment = Gst.Segment()
        segment.init(Gst.Format.TIME)
        segment.base = 100_000_000  # of the same time as before: 20 is at 120 now
        pad = pipeline.get_by_name("source").get_static_pad("src")
        pad.push_event(Gst.Event.new_segment(segment))
        push(pipeline, 20)
        assert list(pulled(pipeline)) == [20]


def test_source_whose_time_starts_again_is_shown() -> None:
    with playing() as pipeline:
        seen = []
        for stamp in (5000, 5040, 20, 60):
            push(pipeline, stamp)
            seen += list(pulled(pipeline, 0.1))
    assert seen == [5000, 5040, 20, 60]


def test_end_of_source_is_posted_and_does_not_end_the_graph() -> None:
    with playing() as pipeline:
        push(pipeline, 40)
        pipeline.get_by_name("source").emit("end-of-stream")
        assert list(pulled(pipeline)) == [40]
        bus = pipeline.get_bus()
        message = bus.timed_pop_filtered(Gst.SECOND, Gst.MessageType.APPLICATION)
        assert message.get_structure().get_name() == ENDED
        assert bus.pop_filtered(Gst.MessageType.EOS) is None


def test_disconnected_device_delivers_after_restart() -> None:
    """All elements of the source are restarted."""
    camera = (
        ElementSpec("videotestsrc", "source", {"num-buffers": "5", "is-live": "true"}),
        ElementSpec(
            "capsfilter", properties={"caps": "video/x-raw,width=32,height=32,framerate=50/1"}
        ),
        ElementSpec("videoconvert"),
    )
    with started(*camera) as (pipeline, live):
        assert list(pulled(pipeline))
        arrived = live.arrived
        assert arrived == 5
        live.restart()
        assert list(pulled(pipeline))
        assert live.arrived == 2 * arrived


def test_nvurisrcbin_reconnects_by_itself() -> None:
    source = ElementSpec("identity", "source", {"rtsp-reconnect-interval": "5"})
    description = assemble_description(
        "test",
        {**TABLE, "source.test": (source, LEAKY_QUEUE)},
        "test",
        "screen",
        "every",
        "",
        {"waiting": "1"},
    )
    plain = replace(
        description, elements=(ElementSpec("appsrc", "source"), *description.elements[1:])
    )
    pipeline = build(plain)
    live = LiveSource(pipeline, description)
    pipeline.set_state(Gst.State.PLAYING)
    try:
        push(pipeline, 40)
        live.restart()
        push(pipeline, 80)  # the same appsrc, never stopped
        assert list(pulled(pipeline))[-1] == 80
    finally:
        pipeline.set_state(Gst.State.NULL)


def test_nothing_follows_the_end_of_a_run() -> None:
    """A source that was just started again would begin a new stream behind the end."""
    with started(ElementSpec("appsrc", "source", {"format": "time"})) as (pipeline, live):
        push(pipeline, 40)
        assert list(pulled(pipeline, 0.1)) == [40]
        live.finish()
        segment = Gst.Segment()
        segment.init(Gst.Format.TIME)
        pad = pipeline.get_by_name("source").get_static_pad("src")
        pad.push_event(Gst.Event.new_stream_start("again"))
        pad.push_event(Gst.Event.new_segment(segment))
        push(pipeline, 80)
        assert list(pulled(pipeline)) == []
        sink = pipeline.get_by_name("input").get_static_pad("sink")
        assert sink.get_sticky_event(Gst.EventType.STREAM_START, 0).parse_stream_start() != "again"
