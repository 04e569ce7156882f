"""Steadiness of masks over time: maps are smoothed, and flashes and gaps of a few frames removed.

Works on probability maps, before the mask is made from them, in time instead of frames: the same at
every rate of inference.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from xpnet.frames import Mask, ProbabilityMap
from xpnet.polyps import MIN_AREA, components

SMOOTHING_S = 0.05
"""Time constant of the smoothing: a sure change shows in its first frame at 25 a second."""
CONFIRM_S = 0.08
"""Time for which an area must be seen before it is marked: to the third frame at 25 a second."""
HOLD_S = 0.12
"""Time for which an area that was marked and is not seen stays marked: three frames."""
MATCH_DISTANCE = 1.5
"""Distance of the centres of two boxes, in their mean side, up to which they are the same area. A
scope moves fast: boxes of a polyp in frames that follow each other need not overlap."""
MATCH_SIZE = 0.2
"""Share that the smaller of two boxes must have of the larger one, to be the same area."""
RESET_S = 0.5
"""After a longer pause, or a jump of the time, what was seen before counts for nothing."""
CLEARANCE = 1e-6
"""By how much an unmarked area stays below the threshold: scaling may round a value up."""
CROSS = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
"""Smallest shape that an area consists of. What hangs on it by one pixel, or by a corner, would be
a speck of its own in the mask of a larger frame."""
ROUNDING_S = 0.002
"""Timestamps of a constant rate differ by a little."""


@dataclass(frozen=True)
class Steadiness:
    """Which of the two are applied.

    Attributes:
        smoothing: Average the maps over SMOOTHING_S.
        confirmation: Mark an area only after CONFIRM_S, and for HOLD_S longer than it is seen.
    """

    smoothing: bool = True
    confirmation: bool = True


@dataclass
class _Area:
    """An area that was seen in recent maps."""

    box: tuple[int, int, int, int]
    inside: Mask
    probabilities: ProbabilityMap
    first_s: float
    last_s: float
    confirmed: bool = False


@dataclass
class Steadier:
    """Steadies the maps of one stream; not safe in two threads at a time."""

    _average: ProbabilityMap | None = None
    _last_s: float = -math.inf
    _areas: list[_Area] = field(default_factory=list)

    def update(
        self, probabilities: ProbabilityMap, time_s: float, threshold: float, wanted: Steadiness
    ) -> ProbabilityMap:
        """Return the map that is to be shown in the place of a new one.

        Args:
            probabilities: H x W map of the newest frame, in [0, 1]; not changed.
            time_s: Time of the frame in seconds.
            threshold: Probability above which a pixel is polyp.
            wanted: What is applied.

        Returns:
            H x W map; above the threshold where something is to be marked.
        """
        pause_s = time_s - self._last_s
        same_stream = self._average is not None and self._average.shape == probabilities.shape
        if not same_stream or not -ROUNDING_S <= pause_s <= RESET_S:
            self._average, self._areas, pause_s = None, [], math.inf
        self._last_s = time_s
        shown = probabilities
        if wanted.smoothing and self._average is not None:
            share = np.float32(1 - math.exp(-max(0.0, pause_s) / SMOOTHING_S))
            shown = self._average + share * (probabilities - self._average)
        self._average = shown
        if not wanted.confirmation:
            self._areas = []
            return shown
        return self._confirm(shown, time_s, threshold)

    def _confirm(self, shown: ProbabilityMap, time_s: float, threshold: float) -> ProbabilityMap:
        """Return the map without areas that are too new, and with those that just vanished."""
        found = self._seen(shown, time_s, threshold)
        self._areas = [a for a in self._areas if time_s - a.last_s <= HOLD_S + ROUNDING_S]
        result = np.minimum(shown, np.float32(threshold - CLEARANCE))
        for area in self._areas:
            if area.confirmed:
                left, top, width, height = area.box
                view = result[top : top + height, left : left + width]
                source = area.probabilities
                np.copyto(view, np.maximum(view, source), where=area.inside.astype(bool))
        self._areas += [area for area in found if area not in self._areas]
        return result

    def _seen(self, shown: ProbabilityMap, time_s: float, threshold: float) -> list[_Area]:
        """Update the areas that are seen again; return those that are seen for the first time."""
        above = (shown > threshold).astype(np.uint8)
        if not above.any():
            return []
        above = np.asarray(cv2.morphologyEx(above, cv2.MORPH_OPEN, CROSS), dtype=np.uint8)
        labels, sizes, boxes = components(above, connectivity=4)
        new = []
        waiting = list(self._areas)
        order = sorted(range(1, len(sizes) + 1), key=lambda n: sizes[n - 1], reverse=True)
        for label in order:
            if sizes[label - 1] < MIN_AREA * shown.size:
                break
            left, top, width, height = box = _sides(boxes[label - 1])
            rows, columns = slice(top, top + height), slice(left, left + width)
            inside = (labels[rows, columns] == label).astype(np.uint8)
            values = shown[rows, columns].copy()
            best = max(waiting, key=lambda area: nearness(area.box, box), default=None)
            if best is None or not nearness(best.box, box):
                new.append(_Area(box, inside, values, time_s, time_s))
                continue
            waiting.remove(best)
            best.box, best.inside, best.probabilities = box, inside, values
            best.last_s = time_s
            best.confirmed |= time_s - best.first_s >= CONFIRM_S - ROUNDING_S
        return new


def nearness(one: tuple[int, int, int, int], other: tuple[int, int, int, int]) -> float:
    """Return how near two boxes (left, top, width, height) are, in [0, 1].

    1 for the same centre; 0 for centres farther apart than MATCH_DISTANCE mean sides, and for sizes
    that differ by more than MATCH_SIZE.

    Args:
        one: A box; its sides are at least 1.
        other: Another box.
    """
    sizes = [one[2] * one[3], other[2] * other[3]]
    if min(sizes) < MATCH_SIZE * max(sizes):
        return 0.0
    apart = math.dist(
        (one[0] + one[2] / 2, one[1] + one[3] / 2),
        (other[0] + other[2] / 2, other[1] + other[3] / 2),
    )
    side = (math.sqrt(sizes[0]) + math.sqrt(sizes[1])) / 2
    return max(0.0, 1 - apart / (MATCH_DISTANCE * side))


def _sides(box: NDArray[np.int32]) -> tuple[int, int, int, int]:
    left, top, width, height = box.tolist()
    return left, top, width, height
