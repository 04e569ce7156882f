"""Masks of nvinferserver's results: what both of NVIDIA's Python bindings need."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from deepstream.probes.base import mask_age_s
from deepstream.statistics import RunStatistics
from xpnet.card import Card
from xpnet.frames import ProbabilityMap, Segmentation
from xpnet.inference import InferenceError

POLYP_CLASS = 0
"""Class of polyp pixels in nvinferserver's class map; background is -1."""
CLASS_MAP_THRESHOLD = 0.5
"""Threshold of a class map that was scaled as a map of 0 and 1: smooth edges at the same place."""


def polyp_map(classes: NDArray[np.int32]) -> ProbabilityMap:
    """Return a class map as a map of 0 and 1."""
    return (classes == POLYP_CLASS).astype(np.float32)


def check_output(found: tuple[int, ...], card: Card) -> None:
    """Check that a result has the size of the card's output.

    Args:
        found: Classes or channels, height and width of the result.
        card: Card of the model that nvinferserver runs.

    Raises:
        InferenceError: The size differs.
    """
    expected = (1, card.output.height, card.output.width)
    if found != expected:
        raise InferenceError(
            f"nvinferserver's output is {' x '.join(map(str, found))}, the card of "
            f"{card.name} expects {' x '.join(map(str, expected))}: check its config"
        )


class NewestMasks:
    """The newest mask of each source, for frames that nvinferserver skipped (mode `latest`).

    Args:
        interval: Frames that nvinferserver skips after each frame.
        statistics: Gets the age of each mask.
        max_age_s: By how many seconds a mask may be older than its frame.
    """

    def __init__(self, interval: int, statistics: RunStatistics, max_age_s: float) -> None:
        self.interval, self.statistics, self.max_age_s = interval, statistics, max_age_s
        self._newest: dict[int, tuple[Segmentation, int]] = {}
        # By source: its newest mask, and how many frames without a mask of their own showed it.

    def of_frame(
        self, source: int, stamp: int | None, segment: Callable[[], Segmentation]
    ) -> Segmentation:
        """Return a frame's mask, or the newest mask of its source if the frame was skipped.

        Args:
            source: Index of the source.
            stamp: Timestamp of the frame in nanoseconds.
            segment: Returns the frame's own mask; raises InferenceError if it has none.

        Raises:
            InferenceError: There is no mask, or it is too old.
        """
        try:
            segmentation, shown = segment(), 0
        except InferenceError:
            if source not in self._newest:
                raise
            segmentation, shown = self._newest[source]
            age = mask_age_s(segmentation.timestamp_ns, stamp)
            if shown == self.interval or age > self.max_age_s:
                raise
            shown += 1
        if self.interval:
            self._newest[source] = segmentation, shown
            self.statistics.mask_age_s.append(mask_age_s(segmentation.timestamp_ns, stamp))
        return segmentation
