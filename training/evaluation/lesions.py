"""What a clinician counts: polyps found and areas raised for nothing, rather than pixels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from xpnet.frames import Mask
from xpnet.polyps import SPECK, components

SIZES = {"small": (0.0, 0.01), "medium": (0.01, 0.05), "large": (0.05, 1.01)}
"""Share of the frame that an area covers, from (inclusive) and to (exclusive)."""
FOUND = 0.5
"""Share of a polyp that the predicted mask must cover for it to count as found."""


@dataclass(frozen=True)
class Lesions:
    """One frame: for each polyp its share of the frame and whether it was found; false areas.

    A polyp is a connected component of the truth of at least SPECK (Kvasir-SEG's masks are full
    of smaller ones); a false area is one of the prediction, however small, that meets no truth.
    Both are shares of the frame, in [0, 1].
    """

    polyps: tuple[tuple[float, bool], ...]
    false_areas: tuple[float, ...]


class Truth:
    """The polyps of one frame's true mask, H x W of 0 and 1, taken apart once for many masks."""

    def __init__(self, mask: Mask) -> None:
        self.pixels = mask.size
        self.mask = mask.astype(bool)
        self.labels, self.areas = components(mask)

    def compare(self, predicted: Mask) -> Lesions:
        """Counts what a predicted mask, H x W of 0 and 1, finds and raises."""
        covered = np.bincount(self.labels[predicted.astype(bool)], minlength=len(self.areas) + 1)[
            1:
        ]
        labels, areas = components(predicted)
        met = np.zeros(len(areas) + 1, dtype=bool)  # the background first
        met[labels[self.mask]] = True
        return Lesions(
            tuple(
                (float(area) / self.pixels, bool(hit >= FOUND * area))
                for area, hit in zip(self.areas, covered, strict=True)
                if area >= SPECK * self.pixels
            ),
            tuple(float(a) / self.pixels for a in areas[~met[1:]]),
        )


def count(frames: list[Lesions]) -> dict[str, dict[str, float | int | None]]:
    """`all` and each of SIZES: `polyps`, `found`, `sensitivity`, `false_areas` a frame."""
    table = {}
    for name, (low, high) in {"all": (0.0, 2.0), **SIZES}.items():
        polyps = [found for f in frames for share, found in f.polyps if low <= share < high]
        false = sum(low <= share < high for f in frames for share in f.false_areas)
        table[name] = {
            "polyps": len(polyps),
            "found": sum(polyps),
            "sensitivity": sum(polyps) / len(polyps) if polyps else None,
            "false_areas": false / len(frames),
        }
    return table
