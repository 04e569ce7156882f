"""The ring of the newest seconds, on encoded buffers that are made by hand."""

from __future__ import annotations

from typing import Any

from deepstream.gstreamer import Gst
from deepstream.recording.ring import Ring

RATE = 25


def frame(number: int, is_key: bool) -> Any:
    buffer = Gst.Buffer.new_allocate(None, 1, None)
    buffer.pts = number * Gst.SECOND // RATE
    if not is_key:
        buffer.set_flags(Gst.BufferFlags.DELTA_UNIT)
    return buffer


def filled(seconds: float, frames: int, group: int, first_key: int = 0) -> list[int]:
    """Return the numbers of the frames that a ring keeps."""
    ring = Ring(seconds)
    for number in range(frames):
        is_key = number >= first_key and (number - first_key) % group == 0
        ring.add(frame(number, is_key), None)
    return [round(b.pts * RATE / Gst.SECOND) for b in ring.frames()]


def test_ring_covers_its_time_and_at_most_one_group_more() -> None:
    for frames in range(60, 120):
        kept = filled(2.0, frames, group=10)
        assert kept == list(range(kept[0], frames))
        assert kept[0] % 10 == 0
        assert 2 * RATE <= frames - 1 - kept[0] < 2 * RATE + 10


def test_frames_before_the_first_key_frame_are_left_out() -> None:
    assert filled(2.0, 20, group=10, first_key=7) == list(range(7, 20))
    assert filled(2.0, 5, group=10, first_key=7) == []


def test_a_group_that_is_longer_than_the_ring_is_kept_whole() -> None:
    assert filled(1.0, 100, group=1000) == list(range(100))


def test_nothing_is_kept_at_first() -> None:
    assert Ring(1.0).frames() == []
