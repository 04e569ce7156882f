"""Plays buffers through a real GStreamer pipeline, past a probe."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from deepstream.gstreamer import Gst
from deepstream.guard import Probes

PIPELINE = (
    "appsrc name=source format=time max-bytes=0 block=false caps={caps} ! "
    "identity name=pacer silent=true ! queue max-size-buffers=4 ! "
    "identity name=overlay silent=true ! appsink name=sink sync=false max-buffers=4"
)


@contextmanager
def pipeline(probes: Probes, points: Iterable[tuple[str, str, str]], caps: str) -> Iterator[Any]:
    """A playing pipeline with the probes on; `points` are element, pad and handler."""
    playing = Gst.parse_launch(PIPELINE.format(caps=caps))
    for element, pad, handler in points:
        playing.get_by_name(element).get_static_pad(pad).add_probe(
            Gst.PadProbeType.BUFFER, probes.guarded(handler)
        )
    playing.set_state(Gst.State.PLAYING)
    try:
        yield playing
    finally:
        playing.set_state(Gst.State.NULL)


def one_by_one(playing: Any, buffers: Iterable[Any]) -> Iterator[Any]:
    """Pushes each buffer and gives what comes out, before the next one goes in."""
    source, sink = playing.get_by_name("source"), playing.get_by_name("sink")
    for buffer in buffers:
        source.emit("push-buffer", buffer)
        del buffer
        sample = sink.emit("pull-sample")
        assert sample is not None
        yield sample.get_buffer()
        del sample


def pixels(buffer: Any, height: int, width: int) -> np.ndarray:
    """N x height x width x 4."""
    data = buffer.extract_dup(0, buffer.get_size())
    return np.frombuffer(data, np.uint8).reshape(-1, height, width, 4)
