"""Parts of a frame without a polyp: hard examples for a network that marks too much."""

from __future__ import annotations

import cv2
import numpy as np

from training.data.augmentation_ranges import MIN_LIT_BRIGHTNESS
from xpnet.frames import Frame, Mask

MIN_SIDE = 0.35
"""Least side of a window, relative to the frame."""
MIN_LIT_SHARE = 0.7
"""Least share of lit pixels in a window; the rest may be the dark border."""
WHOLE_FRAME = (0.0, 0.0, 1.0)


def find_negative_windows(
    frame: Frame, mask: Mask, random: np.random.Generator, count: int = 8
) -> np.ndarray:
    """Return square windows that contain no polyp, and mostly lit mucosa.

    Args:
        frame: H x W x 3 uint8 RGB, square.
        mask: H x W, 1 for polyp.
        random: Source of random numbers.
        count: Largest number of windows.

    Returns:
        K x 3 with K <= `count`: centre (x, y) and half size in [-1, 1]; empty if no window fits.
    """
    size = len(mask)
    padded = np.pad(1 - mask, 1)
    # Distance to the nearest polyp or edge, along rows and columns: half the side of a window.
    reach = cv2.distanceTransform(padded, cv2.DIST_C, 3)[1:-1, 1:-1]
    rows, columns = np.nonzero(reach >= MIN_SIDE * size / 2)
    lit = (frame.mean(2) > MIN_LIT_BRIGHTNESS).astype(np.float32)
    windows = []
    for i in random.permutation(len(rows))[: 4 * count]:
        y, x = int(rows[i]), int(columns[i])
        half = int(reach[y, x] * random.uniform(MIN_SIDE * size / 2 / reach[y, x], 1))
        inside = lit[max(0, y - half) : y + half, max(0, x - half) : x + half]
        if inside.size and inside.mean() >= MIN_LIT_SHARE:
            windows.append((2 * x / size - 1, 2 * y / size - 1, 2 * half / size))
        if len(windows) == count:
            break
    return np.array(windows, np.float32).reshape(-1, 3)


def crop(frame: Frame, mask: Mask, window: np.ndarray) -> tuple[Frame, Mask]:
    """Return the window of a square frame and of its mask, enlarged to the frame's size."""
    size = len(mask)
    x, y, half = ((window + np.array((1, 1, 0))) / 2 * size).tolist()
    matrix = np.array([[half * 2 / size, 0, x - half], [0, half * 2 / size, y - half]])
    flags = cv2.WARP_INVERSE_MAP
    return (
        np.asarray(cv2.warpAffine(frame, matrix, (size, size), flags=flags | cv2.INTER_LINEAR)),
        np.asarray(cv2.warpAffine(mask, matrix, (size, size), flags=flags | cv2.INTER_NEAREST)),
    )
