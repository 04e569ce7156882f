"""The interface of inference: a tensor in, a future probability map out."""

from __future__ import annotations

import math
from concurrent.futures import Future
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from xpnet.card import Card
from xpnet.frames import ProbabilityMap

IN_FLIGHT = 3
"""Frames in flight: one is computed, one waits, one is prepared."""


class InferenceError(Exception):
    """A frame got no result: the server is gone, stalled, or rejected it."""


def check_probabilities(probabilities: ProbabilityMap) -> ProbabilityMap:
    """Return a probability map whose values are all finite.

    A network that overflows in half precision returns NaN, which no threshold exceeds: its mask
    would be empty, as if there were no polyp.

    Args:
        probabilities: H x W map as the network returned it.

    Raises:
        InferenceError: A value is NaN or infinite.
    """
    if not math.isfinite(float(probabilities.sum())):
        raise InferenceError("the network's output is not finite (NaN or infinite)")
    return probabilities


class Inference(Protocol):
    """One loaded model. `submit` never raises for a single frame: the future holds the error.

    Attributes:
        card: The model's card.
    """

    card: Card

    def submit(self, tensor: NDArray[np.float32]) -> Future[ProbabilityMap]:
        """Submit 1 x 3 x H x W in [0, 1]; the future returns the map or raises InferenceError."""

    def abandon(self, reason: str) -> None:
        """Stop waiting for pending results, which are overdue."""

    def close(self) -> None:
        """End threads and connections; safe to call twice."""
