"""Small signs on the picture: whether the assistant works. Drawn on the planes of a frame."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

import cv2
import numpy as np

from xpnet.frames import Mask
from xpnet.overlay import Plane, even_box, mix, subsampled

PlanesOf = Callable[[tuple[int, int, int]], Sequence[Plane]]
"""Returns the planes of a frame for a colour in RGB."""

STARTING, NOT_AVAILABLE, SWITCHED_OFF = "AI STARTING", "AI NOT AVAILABLE", "AI OFF"
NO_SIGNAL = "NO SIGNAL"
"""Notices on the picture."""
ASSISTANT = {
    STARTING: "starting",
    NOT_AVAILABLE: "not available",
    SWITCHED_OFF: "off",
    NO_SIGNAL: "not available",
}
"""The state of the assistant that a notice shows."""
BLACK, GREEN, AMBER, RED = (0, 0, 0), (60, 220, 90), (255, 190, 0), (255, 80, 80)
BACKGROUND_OPACITY = 0.7
FONT = cv2.FONT_HERSHEY_SIMPLEX
BLINK_NS = 1_000_000_000
"""The ready sign is visible for one second, and hidden for one second."""


def draw_notice(planes_of: PlanesOf, text: str, size: tuple[int, ...]) -> None:
    """Draw a text in amber on a dark box in the upper left corner, in place.

    Args:
        planes_of: Returns the frame's planes for a colour.
        text: A few words.
        size: Height and width of the frame in pixels.
    """
    box, letters = _text_masks(text, size[0])
    top, left = sign_position(size)
    if top + box.shape[0] > size[0] or left + box.shape[1] > size[1]:
        return  # a frame that is smaller than its sign
    _stamp(planes_of(BLACK), box, top, left, BACKGROUND_OPACITY)
    _stamp(planes_of(AMBER), letters, top, left, 1.0)


def draw_ready(planes_of: PlanesOf, size: tuple[int, ...], time_ns: int) -> None:
    """Draw a small blinking dot in the upper left corner, in place.

    Args:
        planes_of: Returns the frame's planes for a colour.
        size: Height and width of the frame in pixels.
        time_ns: Time of the frame.
    """
    if time_ns // BLINK_NS % 2 == 0:
        dot = _dot(size[0])
        _stamp(planes_of(GREEN), dot, *sign_position(size), 1.0)


def draw_recording(planes_of: PlanesOf, text: str, size: tuple[int, ...]) -> None:
    """Draw a text in red on a dark box in the upper right corner, in place.

    Args:
        planes_of: Returns the frame's planes for a colour.
        text: A few words, such as REC.
        size: Height and width of the frame in pixels.
    """
    box, letters = _text_masks(text, size[0])
    top, margin = sign_position(size)
    left = (size[1] - margin - box.shape[1]) // 2 * 2
    if top + box.shape[0] > size[0] or left < 0:
        return  # a frame that is smaller than its sign
    _stamp(planes_of(BLACK), box, top, left, BACKGROUND_OPACITY)
    _stamp(planes_of(RED), letters, top, left, 1.0)


def draw_corner_marks(
    planes_of: PlanesOf, box: tuple[float, float, float, float], size: tuple[int, ...]
) -> None:
    """Draw four corners of a box, in green, in place.

    Args:
        planes_of: Returns the frame's planes for a colour.
        box: Left, top, width and height as shares of the frame.
        size: Height and width of the frame in pixels.
    """
    height, width = size[0], size[1]
    long, thick = max(8, height // 14), max(2, height // 250 // 2 * 2)
    left, top = round(box[0] * width), round(box[1] * height)
    right, bottom = round((box[0] + box[2]) * width), round((box[1] + box[3]) * height)
    planes = planes_of(GREEN)
    for x, y in ((left, top), (right - long, top), (left, bottom - thick),
                 (right - long, bottom - thick)):  # fmt: skip
        _stamp(planes, np.ones((thick, long), np.uint8), y, max(0, x), 1.0)
    for x, y in ((left, top), (right - thick, top), (left, bottom - long),
                 (right - thick, bottom - long)):  # fmt: skip
        _stamp(planes, np.ones((long, thick), np.uint8), max(0, y), x, 1.0)


def sign_position(size: tuple[int, ...]) -> tuple[int, int]:
    """Return top and left of the signs, which the scope's dark border usually covers.

    Args:
        size: Height and width of the frame in pixels.
    """
    margin = size[0] // 40 // 2 * 2
    return margin, margin


@lru_cache(maxsize=16)
def _text_masks(text: str, height: int) -> tuple[Mask, Mask]:
    """Return the box of a text and its letters, as masks of one size with even sides."""
    scale, thick = max(0.4, height / 900), max(1, height // 500)
    (width, up), down = cv2.getTextSize(text, FONT, scale, thick)
    pad = up // 2
    shape = ((up + down + 2 * pad + 1) // 2 * 2, (width + 2 * pad + 1) // 2 * 2)
    letters: Mask = np.zeros(shape, np.uint8)
    cv2.putText(letters, text, (pad, pad + up), FONT, scale, (1,), thick, cv2.LINE_8)
    return np.ones(shape, np.uint8), letters


@lru_cache(maxsize=4)
def _dot(height: int) -> Mask:
    side = max(6, height // 50 // 2 * 2)
    dot: Mask = np.zeros((side, side), np.uint8)
    cv2.circle(dot, (side // 2, side // 2), side // 2 - 1, (1,), -1)
    return dot


def _stamp(planes: Sequence[Plane], shape: Mask, top: int, left: int, opacity: float) -> None:
    """Mix a shape into the planes with its upper left corner at a position."""
    frame_height, frame_width = planes[0].pixels.shape[:2]
    top, left = max(0, top), max(0, left)
    bottom, right = min(frame_height, top + shape.shape[0]), min(frame_width, left + shape.shape[1])
    box = even_box(top, left, bottom, right, (frame_height, frame_width))
    inside = np.zeros((box.bottom - box.top, box.right - box.left), np.uint8)
    inside[top - box.top : bottom - box.top, left - box.left : right - box.left] = shape[
        : bottom - top, : right - left
    ]
    for plane in planes:
        view, subsampling = box.on(plane)
        pixels = np.ascontiguousarray(view)
        mix(pixels, subsampled(inside, subsampling), plane.colour, opacity)
        view[...] = pixels
