"""Recognises the signs on the frames of a video."""

from __future__ import annotations

import numpy as np


def has_notice(frame: np.ndarray) -> bool:
    """Return whether the box of the notice, with amber letters, is in the corner."""
    box = frame[10:34, 10:100].astype(int)
    amber = (box[..., 2] - box[..., 0] > 70).mean()
    return bool(amber > 0.03 and np.median(box) < 60)
