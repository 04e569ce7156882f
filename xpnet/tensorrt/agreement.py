"""Whether a plan computes what its ONNX file does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from xpnet.errors import UserError
from xpnet.frames import agreement

AGREEMENT = 0.98
"""Dice of a plan's masks with those of ONNX Runtime that is let through."""
MEAN_DIFFERENCE = 0.01
"""The largest mean difference of a probability that is let through."""


def compare(
    found: NDArray[np.float32], wanted: NDArray[np.float32], threshold: float
) -> dict[str, float]:
    """What a plan changes: `largest_difference`, `mean_difference`, `agreement` of the masks."""
    difference = np.abs(found - wanted)
    return {
        "largest_difference": float(difference.max()),
        "mean_difference": float(difference.mean()),
        "agreement": agreement(found, wanted, threshold),
    }


def check_agreement(onnx: Path, measured: dict[str, float]) -> None:
    """Raises UserError for a plan that does not compute what its ONNX file does; NaN included."""
    good = measured["mean_difference"] <= MEAN_DIFFERENCE and measured["agreement"] >= AGREEMENT
    if not good:
        raise UserError(
            f"{onnx}: its plan is refused: masks agree with ONNX Runtime's by Dice "
            f"{measured['agreement']:.4f}, expected {AGREEMENT}; mean difference "
            f"{measured['mean_difference']:.4f}, expected at most {MEAN_DIFFERENCE}"
        )
