from __future__ import annotations

import time

import cv2
import numpy as np
import pytest

from deepstream.bench.time_code import (
    MIN_WIDTH,
    TICK_S,
    now_ticks,
    read_code,
    seconds_since,
    write_code,
)
from xpnet.overlay import OverlayStyle, Plane, draw_on_planes

TIMES = [0, 1, 123_456_789, 2**32 - 1]


@pytest.mark.parametrize("ticks", TIMES)
@pytest.mark.parametrize(("size", "kind"), [((90, 160), np.uint8), ((1080, 1920), np.uint8),
                                            ((720, 1280), np.uint16)])  # fmt: skip
def test_code_is_read_as_written(ticks: int, size: tuple[int, int], kind: type) -> None:
    luma = np.random.default_rng(1).integers(0, 256, size).astype(kind)
    before = luma.copy()
    write_code(luma, ticks)
    assert read_code(luma) == ticks
    np.testing.assert_array_equal(luma[: -size[1] // 40], before[: -size[1] // 40])


@pytest.mark.parametrize("ticks", TIMES)
def test_code_survives_a_fill_and_compression(ticks: int) -> None:
    luma = np.full((720, 1280), 90, np.uint8)
    write_code(luma, ticks)
    draw_on_planes([Plane(luma, (170,))], np.ones((720, 1280), np.uint8), OverlayStyle())
    packed = cv2.imencode(".jpg", luma, [cv2.IMWRITE_JPEG_QUALITY, 40])[1]
    assert read_code(cv2.imdecode(packed, cv2.IMREAD_GRAYSCALE)) == ticks


def test_damaged_or_missing_code_is_none() -> None:
    luma = np.full((720, 1280), 90, np.uint8)
    write_code(luma, 123_456)
    for block in range(40):
        damaged = luma.copy()
        part = damaged[-32:, block * 32 : block * 32 + 32]
        part[...] = 252 - part
        assert read_code(damaged) is None
    for value in (0, 90, 255):
        assert read_code(np.full((720, 1280), value, np.uint8)) is None


def test_age_is_that_of_the_monotonic_clock() -> None:
    ticks = now_ticks()
    time.sleep(0.02)
    assert 0.02 - TICK_S <= seconds_since(ticks) < 20
    assert seconds_since((now_ticks() - 100_000) % 2**32) >= 1.0  # also where the code starts again


def test_narrow_frame_is_refused() -> None:
    with pytest.raises(ValueError, match=f"a frame of width 100: a time code needs {MIN_WIDTH}"):
        write_code(np.zeros((90, 100), np.uint8), 1)
