from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.metrics import compute_dice, compute_iou

from training.evaluation.lesions import SIZES, Truth, count
from training.evaluation.metrics import counts, intervals, scores


def mask(*rows: list[int]) -> np.ndarray:
    return np.array(rows, np.uint8)


def random_masks(number: int = 20) -> list[tuple[np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(0)
    pairs = [tuple((rng.random((2, 9, 9)) < share).astype(np.uint8)) for share in
             np.linspace(0, 1, number)]  # fmt: skip
    return [(p, t) for p, t in pairs]


def test_values_match_a_calculation_by_hand() -> None:
    rows = [
        # One each of true positive, false negative, false positive, true negative
        counts(mask([1, 0, 1, 0]), mask([1, 1, 0, 0])),
        counts(mask([1, 0, 0, 0]), mask([1, 0, 0, 0])),
    ]
    found = scores(rows)
    assert found["dice"] == pytest.approx((0.5 + 1) / 2)
    assert found["iou"] == pytest.approx((1 / 3 + 1) / 2)
    assert found["miou"] == pytest.approx((1 / 3 + 1) / 2)
    assert found["dice_total"] == pytest.approx(4 / 6)
    assert found["precision"] == found["recall"] == pytest.approx((0.5 + 1) / 2)
    assert found["frames"] == 2
    assert found["false_alarm"] is None


def test_empty_prediction_of_an_empty_mask_scores_one() -> None:
    empty = mask([0, 0, 0, 0])
    found = scores([counts(empty, empty), counts(mask([1, 0, 0, 0]), empty)])
    assert found["dice"] == found["iou"] == 0.5
    assert found["miou"] == pytest.approx((1 + (0 + 3 / 4) / 2) / 2)
    assert (found["false_alarm"], found["false_alarm_frames"]) == (0.5, 2)
    assert (found["recall"], found["recall_frames"]) == (None, 0)
    assert (found["precision"], found["precision_frames"]) == (0.0, 1)


def test_dice_and_iou_equal_those_of_monai() -> None:
    """Training selects its epoch with MONAI's metrics, the card contains ours."""
    pairs = random_masks()
    found = scores([counts(p, t) for p, t in pairs])
    predicted, true = (
        torch.from_numpy(np.stack([pair[i] for pair in pairs])[:, None]).float() for i in (0, 1)
    )
    for name, theirs in (("dice", compute_dice), ("iou", compute_iou)):
        expected = theirs(predicted, true, include_background=True, ignore_empty=False).mean()
        assert found[name] == pytest.approx(float(expected), abs=1e-6)


def test_iou_never_exceeds_dice() -> None:
    found = scores([counts(p, t) for p, t in random_masks()])
    assert found["iou"] < found["dice"]


def test_intervals_contain_the_mean_and_shrink_with_more_frames() -> None:
    rows = [counts(p, t) for p, t in random_masks()]
    found = scores(rows)
    few, many = intervals(rows), intervals(rows * 16)
    for name, (low, high) in few.items():
        assert low <= found[name] <= high, name
        assert many[name][1] - many[name][0] <= 0.5 * (high - low)
    assert intervals(rows) == few
    assert "false_alarm" not in intervals([counts(mask([1]), mask([1]))])


def test_no_frames_and_wrong_shapes_are_rejected() -> None:
    with pytest.raises(ValueError, match="no frame was scored"):
        scores([])
    with pytest.raises(ValueError, match=r"expected \(2, 2\)"):
        counts(np.zeros((1, 4), np.uint8), np.zeros((2, 2), np.uint8))


@pytest.fixture
def two_polyps() -> np.ndarray:
    """20 x 20 with a polyp of 16 pixels (4 % of the frame) and one of 2 (0.5 %)."""
    true = np.zeros((20, 20), np.uint8)
    true[2:6, 2:6] = 1
    true[10, 10:12] = 1
    return true


def test_polyp_is_found_if_half_of_it_is_covered(two_polyps: np.ndarray) -> None:
    truth = Truth(two_polyps)
    half, less = np.zeros_like(two_polyps), np.zeros_like(two_polyps)
    half[2:4, 2:6] = 1
    less[2:4, 2:6] = 1
    less[2, 2] = 0
    assert [found for _, found in truth.compare(half).polyps] == [True, False]
    assert [found for _, found in truth.compare(less).polyps] == [False, False]
    assert truth.compare(half).polyps[0][0] == pytest.approx(0.04)


def test_false_positives_are_components_that_touch_no_polyp(two_polyps: np.ndarray) -> None:
    predicted = np.zeros_like(two_polyps)
    predicted[5:9, 5:9] = 1  # touches the first polyp by one pixel
    predicted[15:17, 1:3] = 1
    predicted[0, 19] = 1
    found = Truth(two_polyps).compare(predicted)
    assert sorted(found.false_positives) == pytest.approx([1 / 400, 4 / 400])
    assert Truth(two_polyps).compare(np.zeros_like(two_polyps)).false_positives == ()


def test_true_areas_below_the_minimum_size_are_not_counted() -> None:
    true = np.zeros((100, 100), np.uint8)
    true[10, 10:19] = 1  # 9 of 10,000 pixels
    found = Truth(true).compare(true)
    assert found.polyps == found.false_positives == ()


def test_counts_by_size(two_polyps: np.ndarray) -> None:
    truth = Truth(two_polyps)
    predicted = two_polyps.copy()
    predicted[2:6, 2:6] = 0
    predicted[15:20, 0:8] = 1  # 10 % of the frame, without a polyp
    table = count([truth.compare(predicted), Truth(np.zeros((5, 5), np.uint8)).compare(
        np.zeros((5, 5), np.uint8))])  # fmt: skip
    assert (table["small"]["polyps"], table["small"]["found"]) == (1, 1)
    assert (table["medium"]["polyps"], table["medium"]["sensitivity"]) == (1, 0)
    assert table["large"]["sensitivity"] is None
    assert table["large"]["false_areas"] == table["all"]["false_areas"] == 0.5
    assert (table["all"]["polyps"], table["all"]["sensitivity"]) == (2, 0.5)
    assert set(table) == {"all", *SIZES}
