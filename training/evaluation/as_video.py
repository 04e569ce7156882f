"""Frames as the graph gets them from video: planes with halved chroma, shrunk by halves.

Training and scoring average areas of RGB frames. This is for `xpnet evaluate --as-video`, which
shows what the graph's preprocessing changes.
"""

from __future__ import annotations

import cv2
import numpy as np

from xpnet.frames import Frame, shrink_plane

_TO_RGB = np.array(
    [
        [255 / 219, 0, 255 / 224 * 1.402],
        [255 / 219, -255 / 224 * 0.344136, -255 / 224 * 0.714136],
        [255 / 219, 255 / 224 * 1.772, 0],
    ]
)
"""From Y, U, V of the limited range to R, G, B of 0 to 255, without the offsets (BT.601)."""
_ZERO = np.array([16, 128, 128])


def as_video(frame: Frame, height: int, width: int) -> Frame:
    """Convert a frame to video (I420) and shrink it as `VideoFrame.scaled_rgb` does.

    Args:
        frame: H x W x 3 RGB; a last odd row or column is repeated.
        height: New height in pixels.
        width: New width in pixels.

    Returns:
        height x width x 3 RGB.
    """
    rows, columns = frame.shape[0] % 2, frame.shape[1] % 2
    even = cv2.copyMakeBorder(frame, 0, rows, 0, columns, cv2.BORDER_REPLICATE)
    lines, samples = even.shape[:2]
    memory = cv2.cvtColor(even, cv2.COLOR_RGB2YUV_I420)
    half = (lines // 2, samples // 2)
    planes = [memory[:lines], *memory[lines:].reshape(2, *half)]
    small = cv2.merge([shrink_plane(plane, height, width) for plane in planes])
    matrix = np.hstack([_TO_RGB, -(_TO_RGB @ _ZERO)[:, None]])
    return np.asarray(cv2.transform(small, matrix), np.uint8)
