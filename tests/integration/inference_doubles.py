"""Inference with known results, or with a known fault, in the place of a model."""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future
from dataclasses import dataclass, field

import cv2
import numpy as np

from xpnet.card import Card
from xpnet.frames import ProbabilityMap
from xpnet.inference import InferenceError


@dataclass
class FixedMap:
    """Inference that finds a circle in the middle of every frame."""

    card: Card

    def submit(self, _tensor: np.ndarray) -> Future[ProbabilityMap]:
        future: Future[ProbabilityMap] = Future()
        future.set_result(self.found())
        return future

    def found(self) -> ProbabilityMap:
        height, width = self.card.output.height, self.card.output.width
        found = np.zeros((height, width), np.float32)
        cv2.circle(found, (width // 2, height // 2), height // 5, 1.0, -1)
        return found

    def abandon(self, reason: str) -> None:
        raise AssertionError(reason)

    def close(self) -> None:
        pass


@dataclass
class WeakAndStrong(FixedMap):
    """As FixedMap, with another circle, of 0.6, in the corner above on the left."""

    def found(self) -> ProbabilityMap:
        height, width = self.card.output.height, self.card.output.width
        found = super().found()
        cv2.circle(found, (width // 8, height // 8), height // 12, 0.6, -1)
        return found


@dataclass
class Faulty(FixedMap):
    """As FixedMap, with a fault from one call to another.

    Attributes:
        fault: `raise`, `hang`, `nan`, `size` or `slow`.
        first: Number of the first call with the fault.
        last: Number of the first call without it again.
        calls: Number of calls so far.
        abandoned: Reasons of `abandon`.
    """

    fault: str = "raise"
    first: int = 0
    last: int = 10**9
    calls: int = 0
    abandoned: list[str] = field(default_factory=list)

    def submit(self, tensor: np.ndarray) -> Future[ProbabilityMap]:
        self.calls += 1
        future = super().submit(tensor)
        if not self.first <= self.calls - 1 < self.last:
            return future
        broken: Future[ProbabilityMap] = Future()
        if self.fault == "raise":
            broken.set_exception(InferenceError("no server"))
        elif self.fault == "nan":
            broken.set_result(np.full_like(self.found(), np.nan))
        elif self.fault == "size":
            broken.set_result(np.zeros((8, 8), np.float32))
        elif self.fault == "slow":
            threading.Thread(target=self._later, args=(broken,), daemon=True).start()
        return broken

    def _later(self, future: Future[ProbabilityMap]) -> None:
        time.sleep(0.4)
        future.set_result(self.found())

    def abandon(self, reason: str) -> None:
        self.abandoned.append(reason)
