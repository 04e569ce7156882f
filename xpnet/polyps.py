"""Polyps in a mask: area, box, contour, probability, and an id over time."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from xpnet.frames import Mask, ProbabilityMap, scale_probabilities

MIN_AREA = 0.001
"""Share of the frame below which an area of a mask is noise: a light reflex, an annotation error,
or a compression artefact of a mask."""
MATCH_IOU = 0.2
"""Overlap (intersection over union of the boxes) at which two boxes are the same polyp. It is low
because a scope moves fast."""
CONFIRM_FRAMES = 3
"""Consecutive frames in which a polyp must be seen before it gets an id."""
MAX_LOST_S = 0.5
"""Seconds for which a polyp that is not seen keeps its id."""


class Writable(Protocol):
    """What lines can be written to."""

    def write(self, text: str, /) -> int:
        """Write text; return how many characters were written."""


@dataclass(frozen=True)
class Polyp:
    """One connected area of a mask, in pixels of the frame.

    Attributes:
        area: Share of the frame, in (0, 1].
        box: Left, top, width, height.
        contour: The outer contour, K x 2 int32 of x and y.
        probability: Mean probability of its pixels, in [0, 1]; None if the map is not known.
        id: Id of the tracker, from 1; None before it is confirmed.
    """

    area: float
    box: tuple[int, int, int, int]
    contour: NDArray[np.int32]
    probability: float | None = None
    id: int | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON."""
        return {
            "id": self.id,
            "area": round(self.area, 6),
            "box": list(self.box),
            "probability": None if self.probability is None else round(self.probability, 4),
            "contour": self.contour.tolist(),
        }


class Components(NamedTuple):
    """The connected areas of a mask; pixels that touch at a corner are connected.

    Attributes:
        labels: H x W, 0 for background and 1 to N.
        areas: The N areas in pixels.
        boxes: N x 4: left, top, width and height of each.
    """

    labels: NDArray[np.int32]
    areas: NDArray[np.int32]
    boxes: NDArray[np.int32]


def components(mask: Mask, connectivity: int = 8) -> Components:
    """Find the connected areas of a mask.

    Args:
        mask: H x W mask.
        connectivity: 8 if pixels that touch at a corner are connected, or 4.
    """
    _, labels, statistics, _ = cv2.connectedComponentsWithStats(mask, connectivity=connectivity)
    found = np.asarray(statistics[1:], np.int32)
    boxes = found[:, [cv2.CC_STAT_LEFT, cv2.CC_STAT_TOP, cv2.CC_STAT_WIDTH, cv2.CC_STAT_HEIGHT]]
    return Components(np.asarray(labels, np.int32), found[:, cv2.CC_STAT_AREA], boxes)


def find_polyps(
    mask: Mask, probabilities: ProbabilityMap | None = None, smallest: float = MIN_AREA
) -> list[Polyp]:
    """Return the polyps of a mask, the largest first.

    Args:
        mask: H x W mask.
        probabilities: The network's map of any size, or None.
        smallest: Smallest share of the frame that is listed.
    """
    left, top, width, height = cv2.boundingRect(mask)
    if width == 0:
        return []
    inside = np.ascontiguousarray(mask[top : top + height, left : left + width])
    labels, areas, boxes = components(inside)
    scaled = None
    if probabilities is not None:
        scaled = scale_probabilities(probabilities, *mask.shape)
        scaled = scaled[top : top + height, left : left + width]
    found = []
    for label, (area, box) in enumerate(zip(areas, boxes.tolist(), strict=True), 1):
        if area < smallest * mask.size:
            continue
        x, y, w, h = box
        rows, columns = slice(y, y + h), slice(x, x + w)
        piece = (labels[rows, columns] == label).astype(np.uint8)
        outer, _ = cv2.findContours(
            piece, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE, offset=(left + x, top + y)
        )
        found.append(
            Polyp(
                area=float(area) / mask.size,
                box=(left + x, top + y, w, h),
                contour=np.asarray(outer[0].reshape(-1, 2), dtype=np.int32),
                probability=None
                if scaled is None
                else float(scaled[rows, columns][piece > 0].mean()),
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
    """Gives polyps an id that stays over frames, by the overlap of their boxes.

    An id is assigned after CONFIRM_FRAMES consecutive frames and kept for MAX_LOST_S seconds
    without the polyp: a flash gets no id, and a blurred frame does not end one.
    """

    def __init__(self) -> None:
        self._tracks: list[_Track] = []
        self._next = 1

    def update(self, polyps: Sequence[Polyp], time_s: float) -> list[Polyp]:
        """Return the same polyps, in order, with ids.

        Args:
            polyps: Polyps of one frame.
            time_s: Time of the frame in seconds; must not decrease.
        """
        self._tracks = [t for t in self._tracks if time_s - t.last_s <= MAX_LOST_S]
        taken: dict[int, _Track] = {}
        pairs = sorted(
            ((overlap(polyp.box, track.polyp.box), number, track)
             for number, polyp in enumerate(polyps) for track in self._tracks),
            key=lambda pair: pair[0],
            reverse=True,
        )  # fmt: skip
        for share, number, track in pairs:
            if share >= MATCH_IOU and number not in taken and track not in taken.values():
                taken[number] = track
        for number, polyp in enumerate(polyps):
            if number not in taken:
                taken[number] = _Track(polyp, 0, time_s)
                self._tracks.append(taken[number])
            self._seen(taken[number], polyp, time_s)
        # Unconfirmed and not seen: its frames were not consecutive.
        kept = list(taken.values())
        self._tracks = [t for t in self._tracks if t.id is not None or t in kept]
        return [replace(polyp, id=taken[number].id) for number, polyp in enumerate(polyps)]

    def _seen(self, track: _Track, polyp: Polyp, time_s: float) -> None:
        track.polyp, track.last_s = polyp, time_s
        track.seen += 1
        if track.id is None and track.seen >= CONFIRM_FRAMES:
            track.id = self._next
            self._next += 1


def overlap(one: tuple[int, int, int, int], other: tuple[int, int, int, int]) -> float:
    """Return the intersection over union of two boxes (left, top, width, height), in [0, 1]."""
    width = min(one[0] + one[2], other[0] + other[2]) - max(one[0], other[0])
    height = min(one[1] + one[3], other[1] + other[3]) - max(one[1], other[1])
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    return shared / (one[2] * one[3] + other[2] * other[3] - shared)


def write_line(
    stream: Writable, frame: int, time_ns: int | None, polyps: list[Polyp] | None
) -> None:
    """Write one frame as one line of JSON; `polyps` is None if the frame has no mask."""
    line = {
        "frame": frame,
        "time": None if time_ns is None else time_ns / 1e9,
        "polyps": None if polyps is None else [polyp.as_dict() for polyp in polyps],
    }
    stream.write(json.dumps(line) + "\n")
