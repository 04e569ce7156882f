"""Inference as the graph and the evaluation see it: a tensor in, a future probability map out."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from xpnet.card import Card
from xpnet.frames import ProbabilityMap

IN_FLIGHT = 3
"""Frames handed to inference ahead of drawing: one runs, one waits, one is prepared."""


class InferenceError(Exception):
    """A frame got no answer: the server is gone, stalled, or refused it."""


class Inference(Protocol):
    """One loaded model. `submit` never raises for a single frame: the future carries the error."""

    card: Card

    def submit(self, tensor: NDArray[np.float32]) -> Future[ProbabilityMap]:
        """1 x 3 x H x W in [0, 1] to the H x W map, in the background; InferenceError inside."""

    def give_up(self, reason: str) -> None:
        """Called when an answer is overdue: what follows must not wait for it again."""

    def close(self) -> None:
        """Ends threads and connections; safe to call twice."""
