"""Frames and their masks on disk. Does not import torch: evaluation runs on the target, too."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from xpnet.errors import UserError
from xpnet.frames import Frame, Mask, resize_frame
from xpnet.images import decode, is_turned, list_images, read_image, stored_size

MAX_EMPTY_JPEG_VALUE = 16
"""Largest value of an empty JPEG mask: the compression leaves small values. In a lossless file the
same values are labels."""
SPLITS = ("train", "val", "test", "external", "")
"""Splits of an index, each also with a prefix and a hyphen, for a split of other work; empty if its
rows only list the frames."""
JPEG_SUFFIXES = (".jpg", ".jpeg")


@dataclass(frozen=True)
class Pair:
    """Paths of one frame and its mask.

    Attributes:
        stem: File name of the frame without its extension.
        image: Path of the frame.
        mask: Path of the mask; None for a frame of a set without polyps, which has no masks.
    """

    stem: str
    image: Path
    mask: Path | None

    def read_frame(self) -> Frame:
        """Return the frame, H x W x 3, RGB, uint8."""
        return read_image(self.image)

    def read_mask(self) -> Mask:
        """Return the mask, H x W, 0 or 1.

        A mask of the labels 0 and 1 is returned as it is; any other is thresholded at one half of
        255, or of 65535 if it has values above 255.

        Raises:
            UserError: The mask cannot be read, or which of its pixels are polyp is not certain.
        """
        if self.mask is None:
            return np.zeros(self.read_frame().shape[:2], np.uint8)
        grey = decode(self.mask, cv2.IMREAD_GRAYSCALE | cv2.IMREAD_ANYDEPTH)
        if grey is None or grey.dtype not in (np.uint8, np.uint16):
            kind = "" if grey is None else f": its values are {grey.dtype}, expected 8 or 16 bits"
            raise UserError(f"{self.mask}: cannot be read as a mask image{kind}")
        height, width = grey.shape
        self._check_orientation(self.mask, height, width)
        brightest = int(grey.max())
        half = 127 if brightest <= 255 else 32767
        is_jpeg = self.mask.suffix.lower() in JPEG_SUFFIXES
        largest_empty = MAX_EMPTY_JPEG_VALUE if is_jpeg else 0
        if brightest != 1 and largest_empty < brightest <= half:
            raise UserError(
                f"{self.mask}: its brightest value is {brightest}, expected masks of 0 and 255 "
                "or of 0 and 1"
            )
        mask = (grey > (0 if brightest == 1 else half)).astype(np.uint8)
        _check_transparency(self.mask, mask)
        return mask

    def _check_orientation(self, path: Path, height: int, width: int) -> None:
        """Raise UserError if the frame is turned as its metadata says, and the mask may not be.

        Some annotation tools apply the metadata and others do not. A mask of the size of the turned
        frame belongs to it, if the frame as stored has another size.

        Args:
            path: Path of the mask.
            height: Height of the mask in pixels.
            width: Width of the mask in pixels.
        """
        if not (self.image.is_file() and is_turned(self.image)) or is_turned(path):
            return
        shown = read_image(self.image).shape[:2]
        if shown == (height, width) != stored_size(self.image):
            return
        raise UserError(
            f"{path}: may not match its frame, whose metadata turns it: expected a frame with "
            "its pixels turned and without this metadata"
        )


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
        UserError: A folder or the index is missing, there is no pair, or two files of a folder have
            the same stem.
    """
    by_stem_image = _by_stem(images)
    by_stem_mask = _by_stem(
        masks, lambda stem: stem if stem in by_stem_image else stem.removesuffix("_mask")
    )
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


def _check_transparency(path: Path, mask: Mask) -> None:
    """Raise UserError if the polyp may be in the mask's transparent channel.

    Drawing programs save a mask with a transparent background, often in one colour only.
    Opaque pixels without any colour may be the polyp, and so may transparent pixels not be it.
    """
    if path.suffix.lower() in JPEG_SUFFIXES:
        return
    stored = decode(path, cv2.IMREAD_UNCHANGED)
    if stored is None or stored.ndim != 3 or stored.shape[2] != 4:
        return
    opaque = stored[..., 3] > (127 if stored.dtype == np.uint8 else 32767)
    if not opaque.all() and (not mask.any() or int(mask.sum()) != int(mask[opaque].sum())):
        raise UserError(
            f"{path}: has transparent pixels that contradict its colours, expected black "
            "and white without transparency"
        )


def _by_stem(folder: Path, rename: Callable[[str], str] = str) -> dict[str, Path]:
    """Return the images of a folder by stem. Raises UserError if two have the same.

    Args:
        folder: The folder.
        rename: Returns the stem of the frame from the stem of a file.
    """
    found: dict[str, Path] = {}
    for path in list_images(folder):
        other = found.setdefault(rename(path.stem), path)
        if other != path:
            raise UserError(
                f"{folder}: {other.name} and {path.name} belong to the same frame, expected one"
            )
    return found


def read_index(index: Path) -> list[dict[str, str]]:
    """Return the rows of an index.csv, as spreadsheets save it, too: with a BOM or semicolons.

    Raises:
        UserError: The file is not a CSV with the columns `stem` and `split`, a split is unknown, or
            a frame has two rows.
    """
    try:
        with index.open(newline="", encoding="utf-8-sig") as file:
            header = file.readline()
            file.seek(0)
            delimiter = "," if "," in header else ";"
            rows = list(csv.DictReader(file, delimiter=delimiter, skipinitialspace=True))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{index}: cannot be read as CSV: {error}") from error
    if not rows or "stem" not in rows[0] or "split" not in rows[0]:
        raise UserError(f"{index}: expected a CSV with the columns 'stem' and 'split'")
    seen = set()
    for row in rows:
        stem, split = row["stem"], row["split"] or ""
        if split.rpartition("-")[2] not in SPLITS:
            known = ", ".join(filter(None, SPLITS))
            raise UserError(
                f"{index}: split '{split}' of '{stem}', expected {known}, or one of these with a "
                "prefix, such as medico-val"
            )
        if stem in seen:
            raise UserError(f"{index}: two rows of '{stem}', expected one")
        seen.add(stem)
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
