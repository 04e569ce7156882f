from __future__ import annotations

import numpy as np
import pytest

from training.metrics import MetricSums


def mask(*rows: list[int]) -> np.ndarray:
    return np.array(rows, np.uint8)


def test_values_by_hand() -> None:
    sums = MetricSums()
    sums.add(mask([1, 0, 1, 0]), mask([1, 1, 0, 0]))  # hit 1, missed 1, false 1, background 1
    sums.add(mask([1, 0, 0, 0]), mask([1, 0, 0, 0]))
    scores = sums.scores()
    assert scores["dice"] == pytest.approx((0.5 + 1) / 2)
    assert scores["iou"] == pytest.approx((1 / 3 + 1) / 2)
    assert scores["miou"] == pytest.approx((1 / 3 + 1) / 2)
    assert scores["dice_total"] == pytest.approx(4 / 6)
    assert scores["precision"] == scores["recall"] == pytest.approx((0.5 + 1) / 2)
    assert scores["frames"] == 2
    assert scores["false_alarm"] is None


def test_empty_met_by_empty_is_perfect_and_by_anything_a_false_alarm() -> None:
    sums = MetricSums()
    empty = mask([0, 0, 0, 0])
    sums.add(empty, empty)
    sums.add(mask([1, 0, 0, 0]), empty)
    scores = sums.scores()
    assert scores["dice"] == scores["iou"] == 0.5
    assert scores["miou"] == pytest.approx((1 + (0 + 3 / 4) / 2) / 2)
    assert (scores["false_alarm"], scores["false_alarm_frames"]) == (0.5, 2)
    assert (scores["recall"], scores["recall_frames"]) == (None, 0)
    assert (scores["precision"], scores["precision_frames"]) == (0.0, 1)


def test_iou_never_exceeds_dice() -> None:
    rng = np.random.default_rng(0)
    sums = MetricSums()
    for _ in range(20):
        sums.add(*(rng.integers(0, 2, (2, 9, 9)).astype(np.uint8)))
    assert sums.scores()["iou"] < sums.scores()["dice"]


def test_wrong_use() -> None:
    with pytest.raises(ValueError, match="no frame was scored"):
        MetricSums().scores()
    with pytest.raises(ValueError, match=r"expected \(2, 2\)"):
        MetricSums().add(np.zeros((1, 4), np.uint8), np.zeros((2, 2), np.uint8))
