"""Polyps found and false positives, counted as connected components."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from xpnet.frames import Mask
from xpnet.polyps import MIN_AREA, components

SIZES = {"small": (0.0, 0.01), "medium": (0.01, 0.05), "large": (0.05, 1.01)}
"""Share of the frame that an area covers, from (inclusive) and to (exclusive)."""
FOUND = 0.5
"""Share of a polyp that the predicted mask must cover for it to count as found."""


@dataclass(frozen=True)
class Components:
    """The components of one frame, as shares of the frame in [0, 1].

    A polyp is a connected component of the true mask of at least MIN_AREA (Kvasir-SEG's masks
    contain many smaller ones). A false positive is a component of the predicted mask, of any size,
    that touches no true pixel.

    Attributes:
        polyps: For each polyp its share of the frame and whether it was found.
        false_positives: Shares of the false positives.
    """

    polyps: tuple[tuple[float, bool], ...]
    false_positives: tuple[float, ...]


class Truth:
    """The polyps of one true mask, labelled once for comparison with many predicted masks."""

    def __init__(self, mask: Mask) -> None:
        self.pixels = mask.size
        self.mask = mask.astype(bool)
        self.labels, self.areas, _ = components(mask)

    def compare(self, predicted: Mask) -> Components:
        """Compare with a predicted H x W mask.

        Args:
            predicted: 1 for polyp, 0 for background.

        Returns:
            The polyps, found or not, and the false positives.
        """
        covered = np.bincount(self.labels[predicted.astype(bool)], minlength=len(self.areas) + 1)[
            1:
        ]
        labels, areas, _ = components(predicted)
        met = np.zeros(len(areas) + 1, dtype=bool)  # entry 0 is the background
        met[labels[self.mask]] = True
        return Components(
            tuple(
                (float(area) / self.pixels, bool(hit >= FOUND * area))
                for area, hit in zip(self.areas, covered, strict=True)
                if area >= MIN_AREA * self.pixels
            ),
            tuple(float(a) / self.pixels for a in areas[~met[1:]]),
        )


def count(frames: list[Components]) -> dict[str, dict[str, float | int | None]]:
    """Count polyps, found polyps, sensitivity and false positives for `all` and each of SIZES.

    Args:
        frames: The components of each frame.
    """
    table = {}
    for name, (low, high) in {"all": (0.0, 2.0), **SIZES}.items():
        polyps = [found for f in frames for share, found in f.polyps if low <= share < high]
        false = sum(low <= share < high for f in frames for share in f.false_positives)
        table[name] = {
            "polyps": len(polyps),
            "found": sum(polyps),
            "sensitivity": sum(polyps) / len(polyps) if polyps else None,
            "false_areas": false / len(frames),
        }
    return table
