"""Plays buffers through a real GStreamer pipeline with a probe."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from deepstream.control.appearance import Appearance
from deepstream.control.controls import Controls
from deepstream.gstreamer import Gst
from deepstream.probes.base import Probes
from deepstream.probes.nvds_probe import NvdsProbes
from tests.deepstream.nvds import buffers, pyds
from xpnet.card import Card

SIZE = (404, 720)
NVMM_POINTS = [("overlay", "sink", "frame_leaves")]
PIPELINE = (
    "appsrc name=source format=time max-bytes=0 block=false caps={caps} ! "
    "identity name=pacer silent=true ! queue max-size-buffers=4 ! "
    "identity name=overlay silent=true ! appsink name=sink sync=false max-buffers=4"
)


def nvds_probes(
    card: Card, size: tuple[int, int] = SIZE, signs: bool = False, **options: Any
) -> NvdsProbes:
    """Return the released probe with the test's pyds, for surfaces of a size."""
    pyds.surface_size, pyds.surface_pitch = size, pyds.pitch_of(size[1])
    pyds.unmapped.clear()
    pyds.synced.clear()
    return NvdsProbes(*size, Controls(Appearance(signs=signs)), card=card, pyds=pyds, **options)


@contextmanager
def pipeline(probes: Probes, points: Iterable[tuple[str, str, str]], caps: str) -> Iterator[Any]:
    """Return a playing pipeline with probes; `points` are element, pad and handler."""
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
    """Push each buffer and yield the output before the next one is pushed."""
    source, sink = playing.get_by_name("source"), playing.get_by_name("sink")
    for buffer in buffers:
        source.emit("push-buffer", buffer)
        del buffer
        sample = sink.emit("pull-sample")
        assert sample is not None
        yield sample.get_buffer()
        del sample


def through(probes: NvdsProbes, *made: Any) -> list[Any]:
    """Play buffers through the DeepStream probe."""
    with pipeline(probes, NVMM_POINTS, "video/x-raw") as playing:
        return list(one_by_one(playing, made))


def pixels(buffer: Any, height: int, width: int) -> np.ndarray:
    """Return the pixels of a buffer, N x height x width x 4."""
    data = buffer.extract_dup(0, buffer.get_size())
    return np.frombuffer(data, np.uint8).reshape(-1, height, width, 4)


def surfaces(buffer: Any, height: int, width: int) -> np.ndarray:
    """Return N x height x width x 4 of a buffer whose gaps between rows must be unchanged."""
    data = buffer.extract_dup(0, buffer.get_size())
    rows = np.frombuffer(data, np.uint8).reshape(-1, height, pyds.pitch_of(width))
    assert (rows[:, :, 4 * width :] == buffers.GAP).all()
    return rows[:, :, : 4 * width].reshape(-1, height, width, 4)
