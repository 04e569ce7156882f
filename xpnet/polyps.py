"""The polyps in a mask as data: area, box, contour, probability, and an id over time."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, TextIO

import cv2
import numpy as np
from numpy.typing import NDArray

from xpnet.frames import Mask, ProbabilityMap, scale_probabilities

SPECK = 0.001
"""Share of the frame below which a piece of a mask is no polyp but a speck: a reflex of light, a
slip of the pen, or what lossy compression left of a mask."""
SAME = 0.2
"""Overlap (intersection over union of the boxes) from which a polyp is that of the frame before:
low, because a scope moves fast and a mask's edge moves with it."""
CONFIRM = 3
"""Frames in a row in which a polyp must be seen before it gets an id: what flashes gets none."""
FORGET_S = 0.5
"""Seconds for which a polyp that is out of sight keeps its id."""


@dataclass(frozen=True)
class Polyp:
    """One connected area of a mask, in pixels of the frame.

    `area` is its share of the frame, in (0, 1]; `box` left, top, width, height; `contour` the
    outer one, K x 2 int32 of x, y; `probability` the mean over its pixels, in [0, 1], None where
    the map was not handed on; `id` that of the tracker, from 1, None before it is confirmed.
    """

    area: float
    box: tuple[int, int, int, int]
    contour: NDArray[np.int32]
    probability: float | None = None
    id: int | None = None

    def as_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return {
            "id": self.id,
            "area": round(self.area, 6),
            "box": list(self.box),
            "probability": None if self.probability is None else round(self.probability, 4),
            "contour": self.contour.tolist(),
        }


def components(mask: Mask) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Connected areas of a mask, H x W of 0 and 1, corners counting as connected.

    Returns:
        labels, H x W, 0 for background and 1 to N; and the N areas in pixels.
    """
    _, labels = cv2.connectedComponents(mask, connectivity=8)
    return np.asarray(labels, dtype=np.int32), np.bincount(labels.ravel())[1:]


def find_polyps(
    mask: Mask, probabilities: ProbabilityMap | None = None, smallest: float = SPECK
) -> list[Polyp]:
    """The polyps of a mask, H x W of 0 and 1, the largest first.

    `probabilities` is the network's map, of any size; `smallest` the least share of the frame.
    """
    left, top, width, height = cv2.boundingRect(mask)
    if width == 0:
        return []
    inside = np.ascontiguousarray(mask[top : top + height, left : left + width])
    labels, areas = components(inside)
    scaled = None
    if probabilities is not None:
        scaled = scale_probabilities(probabilities, *mask.shape)
        scaled = scaled[top : top + height, left : left + width]
    found = []
    for label, area in enumerate(areas, 1):
        if area < smallest * mask.size:
            continue
        piece = (labels == label).astype(np.uint8)
        outer, _ = cv2.findContours(
            piece, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE, offset=(left, top)
        )
        x, y, w, h = cv2.boundingRect(piece)
        found.append(
            Polyp(
                area=float(area) / mask.size,
                box=(left + x, top + y, w, h),
                contour=np.asarray(outer[0].reshape(-1, 2), dtype=np.int32),
                probability=None if scaled is None else float(scaled[piece > 0].mean()),
            )
        )
    return sorted(found, key=lambda p: p.area, reverse=True)


@dataclass
class _Track:
    polyp: Polyp
    seen: int
    last_s: float
    id: int | None = None


class PolypTracker:
    """Gives polyps an id that stays over the frames, by the overlap of their boxes.

    It hesitates on both sides: an id comes after CONFIRM frames in a row and stays for FORGET_S
    without a sight, so that neither a flash makes an id nor a blurred frame ends one.
    """

    def __init__(self) -> None:
        self._tracks: list[_Track] = []
        self._next = 1

    def update(self, polyps: Sequence[Polyp], time_s: float) -> list[Polyp]:
        """The same polyps, in order, with ids; `time_s` of their frame, not running backwards."""
        self._tracks = [t for t in self._tracks if time_s - t.last_s <= FORGET_S]
        taken: dict[int, _Track] = {}
        pairs = sorted(
            ((overlap(polyp.box, track.polyp.box), number, track)
             for number, polyp in enumerate(polyps) for track in self._tracks),
            key=lambda pair: pair[0],
            reverse=True,
        )  # fmt: skip
        for share, number, track in pairs:
            if share >= SAME and number not in taken and track not in taken.values():
                taken[number] = track
        for number, polyp in enumerate(polyps):
            if number not in taken:
                taken[number] = _Track(polyp, 0, time_s)
                self._tracks.append(taken[number])
            self._seen(taken[number], polyp, time_s)
        # Unconfirmed and out of sight: its frames were not in a row.
        kept = list(taken.values())
        self._tracks = [t for t in self._tracks if t.id is not None or t in kept]
        return [replace(polyp, id=taken[number].id) for number, polyp in enumerate(polyps)]

    def _seen(self, track: _Track, polyp: Polyp, time_s: float) -> None:
        track.polyp, track.last_s = polyp, time_s
        track.seen += 1
        if track.id is None and track.seen >= CONFIRM:
            track.id = self._next
            self._next += 1


def overlap(one: tuple[int, int, int, int], other: tuple[int, int, int, int]) -> float:
    """Intersection over union of two boxes (left, top, width, height), in [0, 1]."""
    width = min(one[0] + one[2], other[0] + other[2]) - max(one[0], other[0])
    height = min(one[1] + one[3], other[1] + other[3]) - max(one[1], other[1])
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    return shared / (one[2] * one[3] + other[2] * other[3] - shared)


def write_line(stream: TextIO, frame: int, time_ns: int | None, polyps: list[Polyp] | None) -> None:
    """One frame as one line of JSON; `polyps` None where no mask came for it."""
    line = {
        "frame": frame,
        "time": None if time_ns is None else time_ns / 1e9,
        "polyps": None if polyps is None else [polyp.as_dict() for polyp in polyps],
    }
    stream.write(json.dumps(line) + "\n")
