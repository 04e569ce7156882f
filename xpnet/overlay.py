"""The overlay: draws a mask on a frame, in place."""

from __future__ import annotations

import re
from dataclasses import dataclass

import cv2
import numpy as np

from xpnet.errors import UserError
from xpnet.frames import Frame, Mask, check_frame


@dataclass(frozen=True)
class OverlayStyle:
    """How a mask is drawn.

    Attributes:
        colour: RGB, 0 to 255; cyan does not occur in the bowel.
        opacity: Share of the colour in the fill, from 0 (contour only) to 1.

    Raises:
        UserError: A value is out of range.
    """

    colour: tuple[int, int, int] = (0, 229, 255)
    opacity: float = 0.18

    def __post_init__(self) -> None:
        if not 0 <= self.opacity <= 1:
            raise UserError(f"opacity {self.opacity}: expected 0 to 1")
        if len(self.colour) != 3 or not all(0 <= c <= 255 for c in self.colour):
            raise UserError(f"colour {self.colour}: expected three values of 0 to 255")


def parse_colour(text: str) -> tuple[int, int, int]:
    """Convert '#00e5ff' to (0, 229, 255). Raises UserError for anything else."""
    if not re.fullmatch(r"#?[0-9a-fA-F]{6}", text):
        raise UserError(f"colour '{text}': expected RRGGBB in hexadecimal, such as 00e5ff")
    red, green, blue = bytes.fromhex(text.lstrip("#"))
    return red, green, blue


def contour_thickness(height: int) -> int:
    """Return the contour's width in pixels: two up to 600 lines, four at 1080 lines."""
    return max(2, round(height / 270))


def draw_mask(frame: Frame, mask: Mask, style: OverlayStyle) -> None:
    """Draw a translucent fill and a smooth contour on a frame, in place.

    Only the bounding box of the mask, and the width of the line around it, is written.

    Args:
        frame: H x W x 3 (RGB) or H x W x 4 (RGBA) uint8.
        mask: H x W mask.
        style: Colour and opacity.

    Raises:
        ValueError: The mask does not have the frame's height and width.
    """
    check_frame(frame)
    if mask.shape != frame.shape[:2]:
        raise ValueError(f"mask of {mask.shape}: expected {frame.shape[:2]}, the frame's size")
    left, top, width, height = cv2.boundingRect(mask)
    if width == 0:
        return
    thickness = contour_thickness(frame.shape[0])
    top, bottom = max(0, top - thickness), min(frame.shape[0], top + height + thickness)
    left, right = max(0, left - thickness), min(frame.shape[1], left + width + thickness)
    box = np.ascontiguousarray(frame[top:bottom, left:right])
    inside = np.ascontiguousarray(mask[top:bottom, left:right])
    colour = (*style.colour, 255)[: frame.shape[2]]
    if style.opacity > 0:
        fill = np.full_like(box, colour)
        blended = cv2.addWeighted(fill, style.opacity, box, 1 - style.opacity, 0)
        cv2.copyTo(blended, inside, box)
    contours, _ = cv2.findContours(inside, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(box, contours, -1, colour, thickness, cv2.LINE_AA)
    frame[top:bottom, left:right] = box
