"""Fixtures of the tests of both graphs."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from xpnet.card import Card, read_card
from xpnet.paths import MODEL_REPOSITORY


@pytest.fixture
def card() -> Card:
    return read_card(MODEL_REPOSITORY / "xpnet_lite" / "card.json")


@pytest.fixture
def frame(frames: list[np.ndarray]) -> np.ndarray:
    """A frame as RGBA, as in a buffer."""
    return cv2.cvtColor(frames[2], cv2.COLOR_RGB2RGBA)
