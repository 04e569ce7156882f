"""Reading still images, and frames of a clip."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from xpnet.errors import UserError
from xpnet.frames import Frame

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff")


def list_images(folder: Path) -> list[Path]:
    """Return the images of a folder in natural order: 2.png before 10.png.

    Hidden files are skipped. Raises UserError if there is no such folder.

    Args:
        folder: The folder.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder")
    images = [p for p in folder.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES]
    shown = (p for p in images if not p.name.startswith("."))
    return sorted(shown, key=lambda p: natural_key(p.name))


def read_image(path: Path) -> Frame:
    """Return an image as H x W x 3 uint8 RGB. Raises UserError if it cannot be decoded."""
    try:
        bgr = cv2.imread(str(path), cv2.IMREAD_COLOR)
    except cv2.error:  # a header that claims more pixels than OpenCV accepts
        bgr = None
    if bgr is None:
        raise UserError(f"{path}: cannot be decoded as an image")
    return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), dtype=np.uint8)


def sample_frames(path: Path, count: int = 8) -> list[Frame]:
    """Return frames at equal distances in a clip, H x W x 3 RGB.

    Args:
        path: The clip.
        count: Number of frames.

    Raises:
        UserError: The clip cannot be read.
    """
    step = max(1, frame_count(path) // count)
    frames = [frame for number, frame in enumerate(clip_frames(path)) if number % step == 0]
    return frames[:count]


def clip_frames(path: Path) -> Iterator[Frame]:
    """Yield every frame of a clip in order, H x W x 3 RGB.

    Args:
        path: The clip.

    Raises:
        UserError: The clip cannot be read.
    """
    clip = cv2.VideoCapture(str(path))
    number = 0
    try:
        while True:
            read, bgr = clip.read()
            if not read:
                break
            number += 1
            yield np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), dtype=np.uint8)
    finally:
        clip.release()
    if number == 0:
        raise UserError(f"{path}: no frame can be read from this clip")


def frame_count(path: Path) -> int:
    """Return the number of frames that a clip declares; 0 if it cannot be read."""
    clip = cv2.VideoCapture(str(path))
    count = int(clip.get(cv2.CAP_PROP_FRAME_COUNT))
    clip.release()
    return max(0, count)


def natural_key(name: str) -> list[tuple[int, str]]:
    """Return a sort key that compares numbers in names by value."""
    return [(int(x), "") if x.isdigit() else (-1, x) for x in re.split(r"(\d+)", name)]
