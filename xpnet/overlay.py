"""The overlay: draws a mask on a frame, in place."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from xpnet.errors import UserError
from xpnet.frames import Frame, Mask, check_frame

SHAPES = ("fill", "contour", "corners")
CONTOUR_TOLERANCE = 1 / 8
"""Largest distance of a drawn contour from that of the mask, as a share of the line's width."""
SMALLEST_HOLE = 6
"""Side of the smallest hole that has a contour, in widths of the line."""


@dataclass(frozen=True)
class OverlayStyle:
    """How a mask is drawn.

    Attributes:
        colour: RGB, 0 to 255; cyan does not occur in the bowel.
        opacity: Share of the colour in the fill, from 0 (contour only) to 1.
        shape: `fill`: fill and contour; `contour`; `corners`: corners of a box around each area.

    Raises:
        UserError: A value is out of range.
    """

    colour: tuple[int, int, int] = (0, 229, 255)
    opacity: float = 0.18
    shape: str = "fill"

    def __post_init__(self) -> None:
        if not 0 <= self.opacity <= 1:
            raise UserError(f"opacity {self.opacity}: expected 0 to 1")
        if len(self.colour) != 3 or not all(0 <= c <= 255 for c in self.colour):
            raise UserError(f"colour {self.colour}: expected three values of 0 to 255")
        if self.shape not in SHAPES:
            raise UserError(f"shape '{self.shape}': expected {', '.join(SHAPES)}")


def parse_colour(text: str) -> tuple[int, int, int]:
    """Convert '#00e5ff' to (0, 229, 255). Raises UserError for anything else."""
    if not re.fullmatch(r"#?[0-9a-fA-F]{6}", text):
        raise UserError(f"colour '{text}': expected RRGGBB in hexadecimal, such as 00e5ff")
    red, green, blue = bytes.fromhex(text.lstrip("#"))
    return red, green, blue


def contour_thickness(height: int) -> int:
    """Return the contour's width in pixels: two up to 600 lines, four at 1080 lines."""
    return max(2, round(height / 270))


@dataclass(frozen=True)
class Plane:
    """A part of a frame that is drawn on: the pixels themselves, or one plane of YUV.

    Attributes:
        pixels: Height x width, or height x width x channels, of uint8 or uint16. Planes of chroma
            may have half the frame's height and width.
        colour: What is drawn, one value for each channel.
    """

    pixels: NDArray[Any]
    colour: tuple[int, ...]


def draw_mask(frame: Frame, mask: Mask, style: OverlayStyle) -> None:
    """Draw a translucent fill and a smooth contour on a frame, in place.

    Args:
        frame: H x W x 3 (RGB) or H x W x 4 (RGBA) uint8.
        mask: H x W mask.
        style: Colour and opacity.

    Raises:
        ValueError: The mask does not have the frame's height and width.
    """
    check_frame(frame)
    colour = (*style.colour, 255)[: frame.shape[2]]
    draw_on_planes([Plane(frame, colour)], mask, style)


def draw_on_planes(
    planes: Sequence[Plane], mask: Mask, style: OverlayStyle, outline: Outline | None = None
) -> None:
    """Draw a mask on the planes of a frame, in place.

    Samples that are neither below the mask nor below its contour keep their value.

    Args:
        planes: The planes; the first has the frame's size.
        mask: H x W mask.
        style: The opacity; its colour is in the planes.
        outline: What `outline_of` returned for this mask, if it is known already.

    Raises:
        ValueError: The mask does not have the frame's height and width.
    """
    size = (planes[0].pixels.shape[0], planes[0].pixels.shape[1])
    if mask.shape != size:
        raise ValueError(f"mask of {mask.shape}: expected {size}, the frame's size")
    if outline is None or outline.shape != style.shape:
        outline = outline_of(mask, style.shape)
    if outline is None:
        return
    for group in _of_one_shape(planes):
        views = [outline.box.on(plane)[0] for plane in group]
        subsampling = outline.box.on(group[0])[1]
        parts = [np.ascontiguousarray(view) for view in views]
        if style.opacity > 0 and style.shape == "fill":
            filled = subsampled(outline.inside, subsampling)
            for pixels, plane in zip(parts, group, strict=True):
                mix(pixels, filled, plane.colour, style.opacity)
        together, colour = _as_channels(parts, group)
        closed = style.shape != "corners"
        _outline(together, outline.lines, closed, subsampling, colour, outline.thickness)
        drawn = parts if len(group) == 1 else cv2.split(together)
        for view, pixels in zip(views, drawn, strict=False):  # the third channel may be unused
            view[...] = pixels


@dataclass(frozen=True, eq=False)
class Outline:
    """What is drawn for a mask, as far as it depends on the mask alone.

    Attributes:
        shape: One of SHAPES.
        box: The part of the frame that changes.
        inside: The mask of that part.
        lines: Contours or corners, in pixels of that part.
        thickness: Width of the lines in pixels.
    """

    shape: str
    box: EvenBox
    inside: Mask
    lines: Sequence[NDArray[np.int32]]
    thickness: int


def outline_of(mask: Mask, shape: str) -> Outline | None:
    """Return what is drawn for a mask, or None if it is empty.

    This can be done before the frame is there.

    Args:
        mask: H x W mask.
        shape: One of SHAPES.
    """
    left, top, width, height = bounding_box(mask)
    if width == 0:
        return None
    size = (mask.shape[0], mask.shape[1])
    thickness = contour_thickness(size[0])
    box = even_box(
        top - thickness, left - thickness, top + height + thickness, left + width + thickness, size
    )
    inside = np.ascontiguousarray(mask[box.top : box.bottom, box.left : box.right])
    find = _corner_lines if shape == "corners" else _contours
    return Outline(shape, box, inside, find(inside, thickness), thickness)


def bounding_box(mask: Mask) -> tuple[int, int, int, int]:
    """Return left, top, width and height of the set pixels of a mask; zeros if there are none.

    As cv2.boundingRect, but faster: eight pixels are compared at a time.

    Args:
        mask: H x W mask.
    """
    if mask.shape[1] % 8 or not mask.flags.c_contiguous:
        left, top, width, height = cv2.boundingRect(mask)
        return left, top, width, height
    words = mask.view(np.uint64)
    rows = np.flatnonzero(np.bitwise_or.reduce(words, axis=1))
    if not len(rows):
        return 0, 0, 0, 0
    top, bottom = int(rows[0]), int(rows[-1]) + 1
    columns = np.flatnonzero(np.bitwise_or.reduce(words[top:bottom], axis=0).view(np.uint8))
    left, right = int(columns[0]), int(columns[-1]) + 1
    return left, top, right - left, bottom - top


def subsampled(inside: Mask, subsampling: tuple[int, int]) -> Mask:
    """Return a mask at the size of a plane: of each block of pixels the upper left one.

    Args:
        inside: H x W mask, contiguous.
        subsampling: Pixels of one sample, across and down.
    """
    across, down = subsampling
    rows = inside[::down]
    if across == 2 and inside.shape[1] % 2 == 0:
        # The lower byte of two pixels is the left one; a step of NumPy in a row is slower.
        return rows.view("<u2").astype(np.uint8)
    return np.ascontiguousarray(rows[:, ::across])


def _of_one_shape(planes: Sequence[Plane]) -> list[list[Plane]]:
    """Return planes in groups: U and V of one size are drawn together, which takes less time."""
    if len(planes) == 3 and planes[1].pixels.shape == planes[2].pixels.shape:
        return [[planes[0]], list(planes[1:])]
    return [[plane] for plane in planes]


def _as_channels(
    parts: Sequence[NDArray[Any]], group: Sequence[Plane]
) -> tuple[NDArray[Any], tuple[int, ...]]:
    """Return the parts of a group as one picture, and its colour.

    OpenCV draws smooth lines on one, three or four channels, so two planes get an unused third.
    """
    if len(parts) == 1:
        return parts[0], group[0].colour
    filled = [*parts, parts[-1]][:3]
    colours = [plane.colour[0] for plane in group]
    return np.asarray(cv2.merge(filled)), tuple([*colours, colours[-1]][:3])


@dataclass(frozen=True)
class EvenBox:
    """A part of a frame with even edges: a sample of chroma may belong to two by two pixels.

    Attributes:
        top, left, bottom, right: Its edges in pixels.
        size: Height and width of the frame in pixels.
    """

    top: int
    left: int
    bottom: int
    right: int
    size: tuple[int, int]

    def on(self, plane: Plane) -> tuple[NDArray[Any], tuple[int, int]]:
        """Return this part of a plane, and how many pixels one sample has across and down.

        Args:
            plane: A plane of the frame.
        """
        across, down = (-(-self.size[i] // plane.pixels.shape[i]) for i in (1, 0))
        rows = slice(self.top // down, -(-self.bottom // down))
        return plane.pixels[rows, self.left // across : -(-self.right // across)], (across, down)


def even_box(top: int, left: int, bottom: int, right: int, size: tuple[int, int]) -> EvenBox:
    """Return the smallest part of a frame with even edges around given ones.

    Args:
        top: First row; may be above the frame, as the others may be outside.
        left: First column.
        bottom: Row after the last one.
        right: Column after the last one.
        size: Height and width of the frame in pixels.
    """
    return EvenBox(
        max(0, top // 2 * 2),
        max(0, left // 2 * 2),
        min(size[0], -(-bottom // 2) * 2),
        min(size[1], -(-right // 2) * 2),
        size,
    )


def mix(pixels: NDArray[Any], inside: Mask, colour: tuple[int, ...], opacity: float) -> None:
    """Mix a colour into the samples of a part that are inside a mask, in place.

    Args:
        pixels: A contiguous copy of the part of a plane.
        inside: The mask of that part, at the plane's size.
        colour: What is mixed in, one value for each channel.
        opacity: Its share, 0 to 1.
    """
    constant = [np.full(pixels.shape[:2], value, pixels.dtype) for value in colour]
    filled = constant[0] if pixels.ndim == 2 else cv2.merge(constant)
    blended = cv2.addWeighted(filled, opacity, pixels, 1 - opacity, 0)
    cv2.copyTo(blended, inside, pixels)


def _contours(inside: Mask, thickness: int) -> list[NDArray[np.int32]]:
    """Return the contours of a mask, with as few points as a line of this width needs.

    Drawing takes a time for each point. A contour without the points that are closer than an eighth
    of the line's width to it looks the same. Small holes, as reflexes leave them, have none: within
    a polyp they would look like marks of their own.
    """
    found, tree = cv2.findContours(inside, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_TC89_KCOS)
    smallest = (SMALLEST_HOLE * thickness) ** 2
    shown = [
        line
        for line, (_, _, _, parent) in zip(found, tree[0] if found else (), strict=True)
        if parent < 0 or cv2.contourArea(line) >= smallest
    ]
    lines = [cv2.approxPolyDP(line, thickness * CONTOUR_TOLERANCE, True) for line in shown]
    return [np.asarray(line, np.int32) for line in lines]


def _corner_lines(inside: Mask, thickness: int) -> list[NDArray[np.int32]]:
    """Return four lines around each area of a mask, one at each corner of its box."""
    count, _, boxes, _ = cv2.connectedComponentsWithStats(inside, connectivity=8)
    lines = []
    for left, top, width, height, _ in boxes[1:count]:
        right, bottom = left + width - 1, top + height - 1
        length = max(2 * thickness, min(width, height) // 4)
        for x, to_x in ((left, left + length), (right, right - length)):
            for y, to_y in ((top, top + length), (bottom, bottom - length)):
                lines.append(np.array([[[x, to_y]], [[x, y]], [[to_x, y]]], np.int32))
    return lines


def _outline(
    box: NDArray[Any],
    lines: Sequence[NDArray[Any]],
    closed: bool,
    subsampling: tuple[int, int],
    colour: tuple[int, ...],
    thickness: int,
) -> None:
    """Draw lines in pixels of the frame on a box of a plane; smooth with samples of 8 bits.

    OpenCV draws smooth lines on 8 bits only, at quarters of a sample (`shift=2`).
    """
    across, down = subsampling
    # In height, a sample of chroma is between its two pixels; in width it is at the left one.
    quarters = np.array([4 // across, 4 // down], np.int32)
    scaled = [line * quarters - (0, down - 1) for line in lines]
    width = max(1, round(thickness / max(subsampling)))
    # A smooth line of width 1 is faint: two of them have the colour of a line of two pixels.
    for _ in range(2 if width == 1 else 1):
        cv2.polylines(box, scaled, closed, colour, width, cv2.LINE_AA, shift=2)
