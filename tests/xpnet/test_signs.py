from __future__ import annotations

import numpy as np
import pytest

from xpnet.overlay import Plane
from xpnet.signs import BLINK_NS, PlanesOf, draw_notice, draw_ready, sign_position

SIZE = (404, 720)


def grey(size: tuple[int, int] = SIZE) -> np.ndarray:
    return np.full((*size, 3), 128, np.uint8)


def planes_of(frame: np.ndarray) -> PlanesOf:
    return lambda rgb: [Plane(frame, rgb)]


def changed(frame: np.ndarray) -> tuple[slice, slice]:
    """Return rows and columns of the part that changed."""
    rows, columns = np.nonzero((frame != 128).any(axis=2))
    return slice(rows.min(), rows.max() + 1), slice(columns.min(), columns.max() + 1)


def test_notice_is_a_small_box_in_the_corner() -> None:
    frame = grey()
    draw_notice(planes_of(frame), "AI OFF", SIZE)
    rows, columns = changed(frame)
    assert (rows.start, columns.start) == sign_position(SIZE) == (10, 10)
    assert rows.stop < 40
    assert columns.stop < 100
    box = frame[rows, columns]
    assert (box == (255, 190, 0)).all(axis=2).mean() > 0.05  # letters
    assert (box == 38).all(axis=2).mean() > 0.5  # dark background


def test_ready_sign_blinks() -> None:
    frame = grey()
    draw_ready(planes_of(frame), SIZE, BLINK_NS)
    assert (frame == 128).all()
    draw_ready(planes_of(frame), SIZE, 2 * BLINK_NS)
    rows, columns = changed(frame)
    assert rows.stop - rows.start == columns.stop - columns.start < 10


@pytest.mark.parametrize("size", [(16, 16), (17, 31), (40, 64)])
def test_a_tiny_frame_does_not_fail(size: tuple[int, int]) -> None:
    frame = grey(size)
    draw_notice(planes_of(frame), "AI NOT AVAILABLE", size)
    draw_ready(planes_of(frame), size, 0)


def test_signs_keep_to_their_place_on_half_size_chroma() -> None:
    luma, chroma = np.full(SIZE, 128, np.uint8), np.full((202, 360, 2), 128, np.uint8)
    draw_notice(lambda rgb: [Plane(luma, rgb[:1]), Plane(chroma, rgb[1:])], "AI OFF", SIZE)
    rows, columns = np.nonzero(luma != 128)
    below, beside = np.nonzero((chroma != 128).any(axis=2))
    assert (below.min(), beside.min()) == (rows.min() // 2, columns.min() // 2)
    assert below.max() <= rows.max() // 2
    assert beside.max() <= columns.max() // 2
