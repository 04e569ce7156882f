"""Frames and their masks on disk. Does not import torch: evaluation runs on the target, too."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from xpnet.errors import UserError
from xpnet.frames import Frame, Mask, resize_frame
from xpnet.images import list_images, read_image

MAX_EMPTY_MASK_VALUE = 16
"""Largest value of a mask that counts as empty: JPEG leaves small values in an empty mask."""


@dataclass(frozen=True)
class Pair:
    """Paths of one frame and its mask.

    Attributes:
        stem: File name of the frame without its extension.
        image: Path of the frame.
        mask: Path of the mask.
    """

    stem: str
    image: Path
    mask: Path

    def read_frame(self) -> Frame:
        """Return the frame, H x W x 3, RGB, uint8."""
        return read_image(self.image)

    def read_mask(self) -> Mask:
        """Return the mask, H x W, 0 or 1.

        A mask of the labels 0 and 1 is returned as it is; any other is thresholded at one half.

        Raises:
            UserError: The mask cannot be read, or is too dark for the threshold.
        """
        grey = cv2.imread(str(self.mask), cv2.IMREAD_GRAYSCALE)
        if grey is None:
            raise UserError(f"{self.mask}: cannot be read as a mask image")
        brightest = int(grey.max())
        if brightest == 1:
            return np.asarray(grey, dtype=np.uint8)
        if MAX_EMPTY_MASK_VALUE < brightest <= 127:
            raise UserError(
                f"{self.mask}: its brightest value is {brightest}, expected masks of 0 and 255 "
                "or of 0 and 1"
            )
        return (grey > 127).astype(np.uint8)


def scale_pair(frame: Frame, mask: Mask, size: int) -> tuple[Frame, Mask]:
    """Scale a frame and its mask to size x size pixels, as networks are trained.

    Args:
        frame: H x W x 3 uint8 RGB.
        mask: H x W, 0 or 1.
        size: Height and width in pixels.
    """
    scaled = cv2.resize(mask * 255, (size, size), interpolation=cv2.INTER_AREA)
    return resize_frame(frame, size, size), (scaled > 127).astype(np.uint8)


@dataclass(frozen=True)
class Pairing:
    """Pairs of two folders.

    Attributes:
        pairs: Pairs, sorted by stem.
        without_mask: Stems of images without a mask.
        without_image: Stems of masks without an image.
    """

    pairs: list[Pair]
    without_mask: list[str]
    without_image: list[str]


def find_pairs(
    images: Path, masks: Path, index: Path | None = None, split: str | None = None
) -> Pairing:
    """Pair the images of one folder with the masks of another by stem, in sorted order.

    The stem of a mask is that of its image, or that of its image plus `_mask` (PolypGen).

    Args:
        images: Folder of images.
        masks: Folder of masks.
        index: CSV with the columns `stem` and `split`; only its stems are used.
        split: Split to use of the index; all if None.

    Raises:
        UserError: A folder or the index is missing, or there is no pair.
    """
    by_stem_image = _stems(images)
    by_stem_mask = {
        stem if stem in by_stem_image else stem.removesuffix("_mask"): path
        for stem, path in _stems(masks).items()
    }
    wanted = by_stem_image.keys() | by_stem_mask.keys()
    if index is not None:
        wanted = _stems_of_split(index, split)  # a stem without any file counts as missing
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
    """Return the rows of an index.csv.

    Raises:
        UserError: The file is not a CSV with the columns `stem` and `split`.
    """
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
        raise UserError(f"{index}: no row of split '{split}'; found: {known}")
    return chosen
