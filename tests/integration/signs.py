"""Recognises the signs on the frames of a video."""

from __future__ import annotations

import cv2
import numpy as np

from xpnet.overlay import Plane
from xpnet.signs import draw_notice


def has_notice(frame: np.ndarray) -> bool:
    """Return whether the box of the notice, with amber letters, is in the corner."""
    box = frame[10:34, 10:100].astype(int)
    amber = (box[..., 2] - box[..., 0] > 70).mean()
    return bool(amber > 0.03 and np.median(box) < 60)


def shows(frame: np.ndarray, text: str) -> bool:
    """Return whether a notice has this text: its letters are where the picture is bright."""
    drawn = np.zeros_like(frame)
    draw_notice(lambda rgb: [Plane(drawn, rgb)], text, frame.shape[:2])
    letters = drawn.any(axis=2)
    rows, columns = np.flatnonzero(letters.any(axis=1)), np.flatnonzero(letters.any(axis=0))
    part = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    grey = cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY)[part].astype(float)
    likeness = np.corrcoef(letters[part].ravel(), grey.ravel())[0, 1] if grey.std() else 0.0
    return has_notice(frame) and bool(likeness > 0.6)
