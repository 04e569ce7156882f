"""Polyps as data: measurements, and ids that stay."""

from __future__ import annotations

import io
import json

import cv2
import numpy as np
import pytest

from xpnet.frames import Mask
from xpnet.polyps import (
    CONFIRM_FRAMES,
    MAX_LOST_S,
    MIN_AREA,
    Polyp,
    PolypTracker,
    find_polyps,
    overlap,
    write_line,
)


def discs(*places: tuple[int, int, int]) -> Mask:
    """Return a mask of 200 x 300 with discs at x, y with a radius."""
    mask = np.zeros((200, 300), np.uint8)
    for x, y, radius in places:
        cv2.circle(mask, (x, y), radius, 1, -1)
    return mask


def boxed(left: int, top: int = 50, size: int = 40) -> Polyp:
    return Polyp(0.01, (left, top, size, size), np.zeros((1, 2), np.int32))


def test_each_area_is_measured_and_the_largest_comes_first() -> None:
    mask = discs((60, 60, 10), (200, 120, 30))
    large, small = find_polyps(mask)
    assert large.box == (170, 90, 61, 61)
    assert small.box == (50, 50, 21, 21)
    assert large.area + small.area == pytest.approx(mask.sum() / mask.size)
    assert large.probability is None
    redrawn = np.zeros_like(mask)
    for polyp in (large, small):
        cv2.fillPoly(redrawn, [polyp.contour], 1)
    np.testing.assert_array_equal(redrawn, mask)


def test_probability_is_the_mean_over_the_polyp_only() -> None:
    mask = discs((60, 60, 10), (200, 120, 30))
    probabilities = np.where(mask > 0, np.float32(0.6), np.float32(0))
    probabilities[:, :150] *= 1.5
    large, small = find_polyps(mask, probabilities)
    assert large.probability == pytest.approx(0.6)
    assert small.probability == pytest.approx(0.9)
    halved = cv2.resize(probabilities, (150, 100), interpolation=cv2.INTER_AREA)
    assert find_polyps(mask, halved)[0].probability == pytest.approx(0.6, abs=0.03)


def test_small_areas_are_ignored_and_an_empty_mask_has_no_polyp() -> None:
    assert find_polyps(discs()) == []
    speck = discs((60, 60, 3))
    assert 0 < speck.sum() < MIN_AREA * speck.size
    assert find_polyps(speck) == []
    assert len(find_polyps(speck, smallest=0)) == 1


def test_areas_that_touch_at_a_corner_are_one() -> None:
    mask = np.zeros((20, 20), np.uint8)
    mask[2:6, 2:6] = mask[6:9, 6:9] = 1
    assert [p.box for p in find_polyps(mask)] == [(2, 2, 7, 7)]


def test_overlap() -> None:
    assert overlap((0, 0, 10, 10), (0, 0, 10, 10)) == 1
    assert overlap((0, 0, 10, 10), (5, 0, 10, 10)) == pytest.approx(1 / 3)
    assert overlap((0, 0, 10, 10), (10, 0, 10, 10)) == 0


def ids(tracker: PolypTracker, frames: list[list[Polyp]], step_s: float = 0.04) -> list[list]:
    return [
        [p.id for p in tracker.update(polyps, number * step_s)]
        for number, polyps in enumerate(frames)
    ]


def test_id_is_assigned_after_consecutive_frames_and_kept() -> None:
    moving = [[boxed(20 + 10 * n)] for n in range(8)]
    assert ids(PolypTracker(), moving) == [[None]] * (CONFIRM_FRAMES - 1) + [[1]] * (
        9 - CONFIRM_FRAMES
    )


def test_flash_gets_no_id() -> None:
    flashes = [[boxed(20)], [], [boxed(20)], [boxed(20)], [], [boxed(20)]]
    assert ids(PolypTracker(), flashes) == [[None], [], [None], [None], [], [None]]


def test_id_is_kept_over_a_short_gap_but_not_a_long_one() -> None:
    steady = [[boxed(20)]] * CONFIRM_FRAMES
    short, long = int(MAX_LOST_S / 0.04) - 1, int(MAX_LOST_S / 0.04) + 2
    tracker = PolypTracker()
    assert ids(tracker, [*steady, *[[]] * short, [boxed(22)]])[-1] == [1]
    again = ids(PolypTracker(), [*steady, *[[]] * long, *[[boxed(22)]] * CONFIRM_FRAMES])
    assert again[-CONFIRM_FRAMES:] == [[None]] * (CONFIRM_FRAMES - 1) + [[2]]


def test_two_polyps_keep_their_ids_when_their_order_changes() -> None:
    one, two = boxed(20), boxed(150)
    tracker = PolypTracker()
    found = ids(tracker, [[one, two]] * CONFIRM_FRAMES + [[two, one]])
    assert found[-2:] == [[1, 2], [2, 1]]


def test_two_polyps_never_share_an_id() -> None:
    tracker = PolypTracker()
    found = ids(tracker, [[boxed(20)]] * CONFIRM_FRAMES + [[boxed(20), boxed(24)]] * CONFIRM_FRAMES)
    assert found[-1] == [1, 2]


def test_json_line_distinguishes_no_mask_from_no_polyp() -> None:
    stream = io.StringIO()
    polyps = find_polyps(discs((60, 60, 10)), np.full((20, 30), 0.75, np.float32))
    write_line(stream, 0, 40_000_000, polyps)
    write_line(stream, 1, None, [])
    write_line(stream, 2, 80_000_000, None)
    lines = [json.loads(x) for x in stream.getvalue().splitlines()]
    contour = lines[0]["polyps"][0].pop("contour")
    assert [60, 50] in contour
    assert lines == [
        {"frame": 0, "time": 0.04, "polyps": [
            {"id": None, "area": 0.005283, "box": [50, 50, 21, 21], "probability": 0.75}]},
        {"frame": 1, "time": None, "polyps": []},
        {"frame": 2, "time": 0.08, "polyps": None},
    ]  # fmt: skip
