"""Which differences between a plan and its ONNX file are accepted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from xpnet.errors import UserError
from xpnet.tensorrt.agreement import check_agreement, compare_probabilities

NAN = float("nan")


def test_equal_outputs_have_no_difference() -> None:
    probabilities = np.float32([[0.1, 0.9], [0.6, 0.2]])
    assert compare_probabilities(probabilities, probabilities.copy(), 0.5) == {
        "largest_difference": 0.0, "mean_difference": 0.0, "agreement": 1.0,
    }  # fmt: skip


def test_differences_and_dice_are_measured() -> None:
    actual, expected = np.float32([0.75, 0.75, 0.0, 0.0]), np.float32([0.75, 0.25, 0.0, 0.0])
    assert compare_probabilities(actual, expected, 0.5) == pytest.approx(
        {"largest_difference": 0.5, "mean_difference": 0.125, "agreement": 2 / 3}
    )


@pytest.mark.parametrize(
    ("mean_difference", "dice"), [(0.02, 1.0), (0.0, 0.97), (NAN, 1.0), (0.0, NAN)]
)
def test_plan_outside_the_limits_is_rejected(mean_difference: float, dice: float) -> None:
    measured = {"mean_difference": mean_difference, "agreement": dice}
    with pytest.raises(UserError, match=r"x\.onnx: plan rejected: .* expected at least 0\.98"):
        check_agreement(Path("x.onnx"), measured)


def test_plan_at_the_limits_is_accepted() -> None:
    check_agreement(Path("x.onnx"), {"mean_difference": 0.01, "agreement": 0.98})
