"""The scope's picture within the frame: beside it are a dark border, texts, and a map of the scope.

The picture is what was bright at some time: the border stays dark, while the scope moves and lights
every part of its picture. Texts and icons in the border are apart from it; the map of an endoscope
position detector is of a green that no mucosa has. What is outside the picture is never marked.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from xpnet.errors import UserError
from xpnet.frames import Frame, Mask, ProbabilityMap

AUTO, FULL = "auto", "full"
SIDE = 128
"""Height and width at which regions are found."""
DARK = 32
"""A pixel of the border is darker in all channels."""
GREEN = 70
"""By how much green exceeds red in the map of a position detector."""
MIN_SHARE, FULL_SHARE = 0.25, 0.97
"""A region with a smaller share of the frame is not believed; a larger one is the whole frame."""
MIN_FRAMES, WINDOW = 5, 50
"""Frames that must agree before a region is used, and frames after which it is checked again."""
SAME = 0.96
"""Intersection over union of two regions that count as the same."""

Box = tuple[float, float, float, float]
"""Left, top, width and height as shares of the frame."""
WHOLE: Box = (0.0, 0.0, 1.0, 1.0)


@dataclass(frozen=True)
class Region:
    """The part of the frame that is the scope's picture.

    Attributes:
        inside: SIDE x SIDE, 1 inside.
        box: The box around it.
    """

    inside: Mask
    box: Box

    @property
    def is_whole(self) -> bool:
        """Whether it is the whole frame."""
        return self.box == WHOLE


def whole_frame() -> Region:
    """Return the region of a frame without a border."""
    return Region(np.ones((SIDE, SIDE), np.uint8), WHOLE)


@lru_cache(maxsize=8)
def parse_region(text: str) -> Region | None:
    """Return the region that a setting names; None for `auto`.

    Args:
        text: `auto`, `full`, or `X,Y,WIDTH,HEIGHT` as shares of the frame.

    Raises:
        UserError: It is none of these, or not inside the frame.
    """
    if text == AUTO:
        return None
    if text == FULL:
        return whole_frame()
    number = r"(\d*\.?\d+)"
    match = re.fullmatch(",".join([number] * 4), text)
    left, top, width, height = map(float, match.groups()) if match else (2.0, 2.0, 2.0, 2.0)
    tolerance = 1e-6
    if not (0 < width <= 1 - left + tolerance and 0 < height <= 1 - top + tolerance):
        raise UserError(
            f"region '{text}': expected auto, full, or X,Y,WIDTH,HEIGHT as shares of the frame, "
            "such as 0.25,0,0.7,1"
        )
    inside = np.zeros((SIDE, SIDE), np.uint8)
    rows = slice(round(top * SIDE), max(round((top + height) * SIDE), round(top * SIDE) + 1))
    columns = slice(round(left * SIDE), max(round((left + width) * SIDE), round(left * SIDE) + 1))
    inside[rows, columns] = 1
    return Region(inside, (left, top, width, height))


def brightness(frame: Frame) -> NDArray[np.uint8]:
    """Return the brightest channel of a frame at SIDE x SIDE; 0 where the map of the scope is.

    Args:
        frame: H x W x 3, RGB.
    """
    small = cv2.resize(frame[..., :3], (SIDE, SIDE), interpolation=cv2.INTER_AREA).astype(np.int16)
    bright = small.max(axis=2)
    bright[small[..., 1] - small[..., 0] > GREEN] = 0
    return np.asarray(bright, dtype=np.uint8)


def region_of(bright: NDArray[np.uint8]) -> Region:
    """Return the region of a picture of `brightness`; the whole frame if none is found.

    Args:
        bright: SIDE x SIDE.
    """
    lit = (bright >= DARK).astype(np.uint8)
    # Texts are thin: what is left of them by opening is not connected with the picture.
    lit = np.asarray(cv2.morphologyEx(lit, cv2.MORPH_OPEN, np.ones((5, 5), np.uint8)))
    count, labels, stats, _ = cv2.connectedComponentsWithStats(lit, connectivity=4)
    if count < 2:
        return whole_frame()
    largest = 1 + int(stats[1:, cv2.CC_STAT_AREA].argmax())
    contours, _ = cv2.findContours(
        (labels == largest).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE
    )
    inside: Mask = np.zeros((SIDE, SIDE), np.uint8)
    cv2.fillConvexPoly(inside, cv2.convexHull(np.concatenate(contours)), (1,))
    share = float(inside.mean())
    if share < MIN_SHARE or share > FULL_SHARE:
        return whole_frame()
    left, top, width, height = cv2.boundingRect(inside)
    return Region(inside, (left / SIDE, top / SIDE, width / SIDE, height / SIDE))


def region_overlap(one: Region, other: Region) -> float:
    """Return the intersection over union of two regions, in [0, 1]."""
    union = int((one.inside | other.inside).sum())
    return int((one.inside & other.inside).sum()) / union if union else 1.0


@dataclass
class RegionFinder:
    """Finds the region over several frames, and checks it as frames go on.

    Attributes:
        region: The region now; the whole frame until one is found.
        changes: How often it changed.
    """

    region: Region = field(default_factory=whole_frame)
    changes: int = 0
    _brightest: NDArray[np.uint8] | None = None
    _last: Region | None = None
    _agreeing: int = 0
    _frames: int = 0

    def update(self, frame: Frame) -> Region:
        """Take a frame into account, and return the region.

        Args:
            frame: H x W x 3, RGB, of any size.
        """
        bright = brightness(frame)
        self._brightest = bright if self._brightest is None else np.maximum(self._brightest, bright)
        self._frames += 1
        found = region_of(self._brightest)
        same = self._last is not None and region_overlap(self._last, found) >= SAME
        self._agreeing = self._agreeing + 1 if same else 1
        self._last = found
        if self._agreeing >= MIN_FRAMES and not self._is_used(found):
            self.region, self.changes = found, self.changes + 1
        if self._frames >= WINDOW:  # a new window: what was lit long ago may be border now
            self._brightest, self._frames, self._agreeing = None, 0, 0
        return self.region

    def _is_used(self, found: Region) -> bool:
        """Return whether the region in use is this one, or this one is a darker view of it."""
        if region_overlap(self.region, found) >= SAME:
            return True
        within = (
            int((found.inside & ~self.region.inside & 1).sum()) <= (1 - SAME) * found.inside.sum()
        )
        return not self.region.is_whole and within and self._frames < WINDOW


def cut(probabilities: ProbabilityMap, region: Region) -> ProbabilityMap:
    """Return a map that is 0 outside a region.

    Args:
        probabilities: H x W map; not changed.
        region: The region.
    """
    if region.is_whole:
        return probabilities
    height, width = probabilities.shape
    inside = cv2.resize(region.inside, (width, height), interpolation=cv2.INTER_NEAREST)
    return probabilities * np.asarray(inside, dtype=np.float32)
