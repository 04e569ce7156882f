"""Steadied maps: flashes are not marked, gaps are closed, and both within a bounded time."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from xpnet.frames import ProbabilityMap, probabilities_to_mask
from xpnet.steadiness import Steadier, Steadiness, nearness

THRESHOLD = 0.5
RAW, SMOOTHED = Steadiness(False, False), Steadiness(True, False)
CONFIRMED, BOTH = Steadiness(False, True), Steadiness(True, True)


def area(value: float = 0.9, left: int = 20) -> ProbabilityMap:
    """Return a map with one square."""
    found = np.full((64, 64), 0.1, np.float32)
    found[20:40, left : left + 20] = value
    return found


EMPTY = area(0.1)


def marked(maps: list[ProbabilityMap], wanted: Steadiness, fps: float = 25.0) -> str:
    """Return for each frame whether the square is marked: # or a point."""
    steadier = Steadier()
    shown = [
        steadier.update(found, number / fps, THRESHOLD, wanted) for number, found in enumerate(maps)
    ]
    return "".join("#" if (one > THRESHOLD).any() else "." for one in shown)


def test_nothing_changes_if_both_are_off() -> None:
    steadier = Steadier()
    for number, found in enumerate((area(), EMPTY, area(0.6))):
        assert steadier.update(found, number / 25, THRESHOLD, RAW) is found


@pytest.mark.parametrize("wanted", [CONFIRMED, BOTH])
def test_flash_is_not_marked_and_a_polyp_is_in_its_third_frame(wanted: Steadiness) -> None:
    assert marked([EMPTY, EMPTY, area(), EMPTY, EMPTY, EMPTY], wanted) == "......"
    assert marked([area()] * 5, wanted) == "..###"


def test_at_a_low_rate_the_second_frame_confirms() -> None:
    assert marked([area()] * 4, CONFIRMED, fps=10) == ".###"
    assert marked([area()] * 9, CONFIRMED, fps=60) == ".....####"


def test_gap_of_three_frames_is_closed_and_a_longer_one_is_not() -> None:
    gap = [area()] * 4 + [EMPTY] * 3 + [area()] * 2
    assert marked(gap, CONFIRMED) == "..#######"
    end = [area()] * 4 + [EMPTY] * 6 + [area()] * 3
    assert marked(end, CONFIRMED) == "..#####.....#"


def test_held_area_is_the_last_one_that_was_seen() -> None:
    steadier = Steadier()
    for number in range(4):
        last = steadier.update(area(left=20 + number), number / 25, THRESHOLD, CONFIRMED)
    held = steadier.update(EMPTY, 4 / 25, THRESHOLD, CONFIRMED)
    assert np.array_equal(held > THRESHOLD, last > THRESHOLD)


def test_new_area_beside_a_confirmed_one_waits() -> None:
    steadier = Steadier()
    for number in range(4):
        steadier.update(area(left=2), number / 25, THRESHOLD, CONFIRMED)
    two = np.maximum(area(left=2), area(left=42))
    shown = steadier.update(two, 4 / 25, THRESHOLD, CONFIRMED)
    assert (shown[:, :32] > THRESHOLD).any()
    assert not (shown[:, 32:] > THRESHOLD).any()
    differs = shown[:, :32] != two[:, :32].clip(max=0.9)
    assert differs.sum() <= 4  # the corners of the square


def test_moving_polyp_stays_marked() -> None:
    assert marked([area(left=4 * n) for n in range(10)], CONFIRMED) == "..########"


def test_smoothing_weights_by_time() -> None:
    steadier = Steadier()
    steadier.update(EMPTY, 0.0, THRESHOLD, SMOOTHED)
    soon = steadier.update(area(), 0.04, THRESHOLD, SMOOTHED)[30, 30]
    assert soon == pytest.approx(0.1 + 0.8 * (1 - np.exp(-0.8)), abs=1e-5)
    assert marked([EMPTY, area(1.0)], SMOOTHED) == ".#"  # a sure change shows at once
    steadier.update(EMPTY, 10.0, THRESHOLD, SMOOTHED)
    again = steadier.update(area(), 10.4, THRESHOLD, SMOOTHED)[30, 30]
    assert again == pytest.approx(0.9, abs=1e-3)  # after a pause the past hardly counts


@pytest.mark.parametrize("time_s", [-5.0, 3.0])
def test_jump_of_the_time_starts_again(time_s: float) -> None:
    steadier = Steadier()
    for number in range(4):
        shown = steadier.update(area(), 1 + number / 25, THRESHOLD, BOTH)
    assert (shown > THRESHOLD).any()
    assert not (steadier.update(area(), time_s, THRESHOLD, BOTH) > THRESHOLD).any()


def test_specks_are_not_marked() -> None:
    speck = EMPTY.copy()
    speck[5, 5] = 0.9  # 1 of 4,096 pixels: below MIN_AREA
    assert marked([speck] * 5, RAW) == "#####"
    assert marked([speck] * 5, CONFIRMED) == "....."


@pytest.mark.parametrize("size", [(150, 210), (64, 64), (404, 720)])
def test_ragged_edge_leaves_no_specks_in_the_mask_of_a_frame(size: tuple[int, int]) -> None:
    ragged = area()
    ragged[19, 20:40:2] = 0.51  # pixels that hang on the square by one side
    ragged[18, 21:40:4] = 0.51  # and by a corner
    ragged[41, 43] = ragged[42, 44] = 0.6
    count = {}
    for wanted in (RAW, CONFIRMED):
        steadier = Steadier()
        for number in range(5):
            shown = steadier.update(ragged, number / 25, THRESHOLD, wanted)
        mask = probabilities_to_mask(shown, *size, THRESHOLD)
        count[wanted] = cv2.connectedComponents(mask)[0] - 1
        assert mask.mean() == pytest.approx(400 / 4096, rel=0.1)
    assert count[CONFIRMED] == 1
    assert count[RAW] > 1


def test_fast_polyp_is_marked_though_its_boxes_do_not_overlap() -> None:
    assert marked([area(left=left) for left in (0, 22, 44)], CONFIRMED) == "..#"


def test_nearness_of_boxes() -> None:
    box = (10, 10, 20, 20)
    assert nearness(box, box) == 1
    assert nearness(box, (25, 10, 20, 20)) == pytest.approx(0.5)
    assert nearness(box, (40, 10, 20, 20)) == 0
    assert nearness(box, (10, 10, 50, 50)) == 0  # six times as large
