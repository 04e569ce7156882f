"""Compare the output of a TensorRT plan with the output of ONNX Runtime."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from xpnet.errors import UserError
from xpnet.frames import agreement

MIN_MASK_DICE = 0.98
"""Smallest accepted Dice between the masks of a plan and the masks of ONNX Runtime."""
MAX_MEAN_DIFFERENCE = 0.01
"""Largest accepted mean absolute difference between the two probability maps."""


def compare_probabilities(
    actual: NDArray[np.float32], expected: NDArray[np.float32], threshold: float
) -> dict[str, float]:
    """Measure how far the output of a plan is from the output of its ONNX file.

    Args:
        actual: Probabilities of the plan, of any shape.
        expected: Probabilities of ONNX Runtime, of the same shape.
        threshold: Probability above which a pixel belongs to the mask.

    Returns:
        `largest_difference` and `mean_difference` of the probabilities, and `agreement`, the Dice
        of the two masks.
    """
    difference = np.abs(actual - expected)
    return {
        "largest_difference": float(difference.max()),
        "mean_difference": float(difference.mean()),
        "agreement": agreement(actual, expected, threshold),
    }


def check_agreement(onnx: Path, measured: dict[str, float]) -> None:
    """Reject a plan whose output differs from the output of its ONNX file.

    Args:
        onnx: The ONNX file, for the error message.
        measured: Result of `compare_probabilities`. NaN values are rejected, too.

    Raises:
        UserError: A value is outside its limit.
    """
    # Written as "is within the limits", because every comparison with NaN is false.
    accepted = (
        measured["mean_difference"] <= MAX_MEAN_DIFFERENCE
        and measured["agreement"] >= MIN_MASK_DICE
    )
    if not accepted:
        raise UserError(
            f"{onnx}: plan rejected: Dice of its masks and ONNX Runtime's is "
            f"{measured['agreement']:.4f}, expected at least {MIN_MASK_DICE}; mean difference of "
            f"the probabilities is {measured['mean_difference']:.4f}, expected at most "
            f"{MAX_MEAN_DIFFERENCE}"
        )
