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
JPEG_START, JPEG_SCAN, JPEG_END = b"\xff\xd8", b"\xff\xda", b"\xff\xd9"
"""Markers of a JPEG file: SOI, SOS and EOI."""
EXIF_MARKS = (b"Exif", b"eXIf")
"""Names of the metadata with the orientation in JPEG and in PNG files."""

AS_STORED = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
"""Flags for an image that is not turned as its metadata asks."""


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
    """Return an image as H x W x 3 uint8 RGB, rotated as its metadata says.

    Raises:
        UserError: It cannot be decoded, or only in part.
    """
    bgr = decode(path, cv2.IMREAD_COLOR)
    if bgr is None:
        raise UserError(f"{path}: cannot be decoded as an image")
    return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), dtype=np.uint8)


def decode(path: Path, flags: int) -> np.ndarray | None:
    """Return an image as OpenCV decodes it, or None if it is none.

    cv2.imread is not used: a name that is not UTF-8 ends the process with a segmentation fault.

    Args:
        path: The image.
        flags: Flags of cv2.imread.

    Raises:
        UserError: The file ends before the image does. OpenCV would fill the rest with grey.
    """
    try:
        content = path.read_bytes()
    except OSError:
        return None
    # The marker of the end must follow that of the last scan; a thumbnail has both before it.
    # Neither occurs in compressed data (ITU-T T.81, B.1.1.2 and F.1.2.3).
    is_jpeg = content.startswith(JPEG_START)
    if is_jpeg and content.rfind(JPEG_END) < content.rfind(JPEG_SCAN):
        raise UserError(f"{path}: cannot be decoded completely: the file ends too early")
    try:
        return cv2.imdecode(np.frombuffer(content, np.uint8), flags) if content else None
    except cv2.error:  # a header that claims more pixels than OpenCV accepts
        return None


def is_turned(path: Path) -> bool:
    """Return whether `read_image` turns or mirrors an image because its metadata asks for it.

    Args:
        path: An image that can be decoded.
    """
    if not any(mark in path.read_bytes() for mark in EXIF_MARKS):
        return False
    shown, stored = decode(path, cv2.IMREAD_COLOR), decode(path, AS_STORED)
    return not (shown is None or stored is None or np.array_equal(shown, stored))


def stored_size(path: Path) -> tuple[int, ...]:
    """Return height and width of an image as it is stored, before it is turned.

    Args:
        path: An image that can be decoded.
    """
    stored = decode(path, AS_STORED)
    return () if stored is None else stored.shape[:2]


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
    clip = _open_clip(path)
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
    clip = _open_clip(path)
    count = int(clip.get(cv2.CAP_PROP_FRAME_COUNT))
    clip.release()
    return max(0, count)


def frame_rate(path: Path) -> float:
    """Return the frames a second of a video; 25 if it does not say. Raises UserError."""
    clip = _open_clip(path)
    rate = float(clip.get(cv2.CAP_PROP_FPS))
    clip.release()
    return rate if rate > 0 else 25.0


def _open_clip(path: Path) -> cv2.VideoCapture:
    """Open a clip. Raises UserError for a name that ends the process inside OpenCV."""
    try:
        str(path).encode()
    except UnicodeEncodeError as error:
        raise UserError(
            f"{str(path)!a}: expected a name in UTF-8: OpenCV reads no other"
        ) from error
    return cv2.VideoCapture(str(path))


def natural_key(name: str) -> list[tuple[int, str]]:
    """Return a sort key that compares numbers in names by value."""
    return [(int(x), "") if x.isdigit() else (-1, x) for x in re.split(r"(\d+)", name)]
