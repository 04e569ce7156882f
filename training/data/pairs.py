"""Finding frames and their masks on disk. Needs no torch: evaluation uses it on the target."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from xpnet.errors import UserError
from xpnet.frames import Frame, Mask
from xpnet.images import list_images, read_image

NOISE = 16
"""A mask no brighter than this is empty: JPEG leaves such values around nothing."""


@dataclass(frozen=True)
class Pair:
    """One frame and its mask, by path; `stem` is the file name that both share."""

    stem: str
    image: Path
    mask: Path

    def read_frame(self) -> Frame:
        """The frame, H x W x 3, RGB, uint8."""
        return read_image(self.image)

    def read_mask(self) -> Mask:
        """The mask, H x W, 0 or 1: labels 0 and 1, or any grey or colour cut at one half.

        Raises:
            UserError: the mask cannot be read, or is too dark to be cut at one half.
        """
        grey = cv2.imread(str(self.mask), cv2.IMREAD_GRAYSCALE)
        if grey is None:
            raise UserError(f"{self.mask}: cannot be read as a mask image")
        brightest = int(grey.max())
        if brightest == 1:
            return np.asarray(grey, dtype=np.uint8)
        if NOISE < brightest <= 127:
            raise UserError(
                f"{self.mask}: its brightest value is {brightest}, expected masks of 0 and 255 "
                "or of 0 and 1"
            )
        return (grey > 127).astype(np.uint8)


@dataclass(frozen=True)
class Pairing:
    """What two folders hold: the pairs by stem, and the stems without a partner."""

    pairs: list[Pair]
    without_mask: list[str]
    without_image: list[str]


def find_pairs(
    images: Path, masks: Path, index: Path | None = None, split: str | None = None
) -> Pairing:
    """Pairs the images of one folder with the masks of another by stem, in sorted order.

    A mask may also be named as its image with `_mask` behind it, as PolypGen's are.

    With `index`, a CSV with the columns `stem` and `split`, only the stems of `split` count.

    Raises:
        UserError: a folder or the index is missing, or nothing pairs.
    """
    by_stem_image = _stems(images)
    by_stem_mask = {
        stem if stem in by_stem_image else stem.removesuffix("_mask"): path
        for stem, path in _stems(masks).items()
    }
    wanted = by_stem_image.keys() | by_stem_mask.keys()
    if index is not None:
        wanted = _stems_of_split(index, split)  # what it names and no folder holds is missing, too
    both = sorted(wanted & by_stem_image.keys() & by_stem_mask.keys())
    if not both:
        raise UserError(
            f"no frame in {images} has a mask of the same name in {masks}: "
            f"{len(by_stem_image)} images, {len(by_stem_mask)} masks, 0 pairs"
        )
    return Pairing(
        pairs=[Pair(s, by_stem_image[s], by_stem_mask[s]) for s in both],
        without_mask=sorted(wanted - by_stem_mask.keys()),
        without_image=sorted(wanted - by_stem_image.keys()),
    )


def _stems(folder: Path) -> dict[str, Path]:
    return {path.stem: path for path in list_images(folder)}


def read_index(index: Path) -> list[dict[str, str]]:
    """The rows of an index.csv. Raises UserError where it is none."""
    try:
        with index.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{index}: cannot be read as CSV: {error}") from error
    if not rows or "stem" not in rows[0] or "split" not in rows[0]:
        raise UserError(f"{index}: expected a CSV with the columns 'stem' and 'split'")
    return rows


def _stems_of_split(index: Path, split: str | None) -> set[str]:
    rows = read_index(index)
    if split is None:
        return {row["stem"] for row in rows}
    chosen = {row["stem"] for row in rows if row["split"] == split}
    if not chosen:
        known = ", ".join(sorted({row["split"] for row in rows}))
        raise UserError(f"{index}: no row of split '{split}', only of: {known}")
    return chosen
