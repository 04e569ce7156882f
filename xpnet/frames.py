"""Preprocessing (frame to tensor) and postprocessing (probability map to mask).

Training, evaluation, the Triton models and the graph all call these functions. Frames are scaled by
averaging areas; only the graph shrinks the planes of a video, which is faster and nearly the same.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from xpnet.overlay import Outline

Frame = NDArray[np.uint8]
"""H x W x 3 (RGB) or H x W x 4 (RGBA), values 0 to 255."""
Mask = NDArray[np.uint8]
"""H x W, 1 for polyp and 0 for background."""
ProbabilityMap = NDArray[np.float32]
"""H x W, the probability of polyp in [0, 1]."""


@dataclass(frozen=True)
class Segmentation:
    """A mask and the frame it was computed from.

    Attributes:
        mask: H x W at the frame's size.
        timestamp_ns: Presentation time of the frame, or None if the stream has none.
        probabilities: The probability map of the mask at the network's size, or None if only the
            mask is known.
        outline: What will be drawn, if it was computed with the mask, or None.
    """

    mask: Mask
    timestamp_ns: int | None
    probabilities: ProbabilityMap | None = None
    outline: Outline | None = None

    @cached_property
    def has_polyp(self) -> bool:
        """Whether any pixel is polyp."""
        return bool(self.mask.any())


def resize_frame(frame: Frame, height: int, width: int) -> Frame:
    """Scale a frame, without padding, as in the paper.

    Area averaging when shrinking, so that fine texture does not alias; bilinear when enlarging.

    Args:
        frame: H x W or H x W x C, uint8 (or uint16, a plane of 10 bits).
        height: New height in pixels.
        width: New width in pixels.
    """
    if frame.shape[:2] == (height, width):
        return frame
    shrinks = frame.shape[0] >= height and frame.shape[1] >= width
    interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    scaled: Frame = np.asarray(cv2.resize(frame, (width, height), interpolation=interpolation))
    return scaled


def shrink_plane(plane: NDArray[Any], height: int, width: int) -> NDArray[Any]:
    """Scale a plane of a decoded frame down, in less time than `resize_frame`.

    OpenCV averages areas of whole numbers of samples quickly, areas of fractions slowly. If both
    sides shrink to a half or less, each is first scaled bilinearly, by less than two, to its new
    length times a power of two, and then halved. On average the result differs from that of area
    averaging by less than half a level; fine stripes differ by more. docs/performance.md has the
    scores with it.

    Args:
        plane: H x W or H x W x C, uint8 or uint16.
        height: New height in samples.
        width: New width in samples.
    """
    rows, columns = plane.shape[:2]
    if rows < 2 * height or columns < 2 * width:  # bilinear alone would leave samples out
        return resize_frame(plane, height, width)
    down, across = (_halvings(rows, height), _halvings(columns, width))
    size = (height << down, width << across)
    if size != (rows, columns):
        plane = cv2.resize(plane, size[::-1], interpolation=cv2.INTER_LINEAR)
    while down or across:
        size = (size[0] >> (down > 0), size[1] >> (across > 0))
        # Both give the average of the samples; each is the faster one for its case.
        way = cv2.INTER_AREA if down and across else cv2.INTER_LINEAR
        plane = cv2.resize(plane, size[::-1], interpolation=way)
        down, across = max(0, down - 1), max(0, across - 1)
    return plane


def _halvings(length: int, wanted: int) -> int:
    """Return how often a length can be halved without becoming shorter than another."""
    return (length // wanted).bit_length() - 1


def frame_to_tensor(frame: Frame, height: int, width: int) -> NDArray[np.float32]:
    """Convert an RGB or RGBA frame to the network's input.

    Args:
        frame: H x W x 3 or H x W x 4 uint8.
        height: Height of the network's input.
        width: Width of the network's input.

    Returns:
        1 x 3 x height x width float32 in [0, 1].

    Raises:
        ValueError: The frame has another shape or type, or no pixels.
    """
    check_frame(frame)
    small = resize_frame(frame, height, width)[:, :, :3]
    tensor = np.multiply(small.transpose(2, 0, 1)[None], np.float32(1 / 255), dtype=np.float32)
    return np.ascontiguousarray(tensor)


def without_weak_areas(
    probabilities: ProbabilityMap, threshold: float, peak: float
) -> ProbabilityMap:
    """Remove the areas above the threshold that nowhere reach a higher probability.

    Hysteresis thresholding (Canny, 1986): the threshold gives an area its outline, the peak says
    whether it is marked at all. It is applied to the raw map, since smoothing lowers peaks.

    Args:
        probabilities: H x W map; not changed.
        threshold: Probability above which a pixel is polyp.
        peak: Probability above which at least one pixel of an area must be; pixels that touch at
            a corner are one area. At or below the threshold it changes nothing.

    Returns:
        H x W map in which weak areas are 0, so that an average over frames does not keep them; the
        map itself if there is none.
    """
    if peak <= threshold:
        return probabilities
    above = probabilities > threshold
    count, labels = cv2.connectedComponents(above.view(np.uint8), connectivity=8)
    places = np.flatnonzero(above)  # mostly few of the pixels, so that the rest is quick
    labels = labels.ravel()[places]
    kept = np.zeros(count, dtype=bool)
    kept[0] = True  # the background
    kept[labels[probabilities.ravel()[places] > peak]] = True
    if kept.all():
        return probabilities
    without = probabilities.copy()
    without.ravel()[places[~kept[labels]]] = 0.0
    return without


def probabilities_to_mask(
    probabilities: ProbabilityMap, height: int, width: int, threshold: float, peak: float = 0.0
) -> Mask:
    """Convert a probability map to a mask.

    The map is scaled to the frame before the threshold is applied: scaling a mask would give blocky
    edges at shifted positions.

    Args:
        probabilities: H x W map of any size.
        height: Height of the mask in pixels.
        width: Width of the mask in pixels.
        threshold: Probability above which a pixel is polyp.
        peak: Probability that an area must exceed somewhere to be marked, as in
            `without_weak_areas`; 0 for no such rule.

    Returns:
        height x width mask.
    """
    probabilities = without_weak_areas(probabilities, threshold, peak)
    mask: Mask = np.zeros((height, width), dtype=np.uint8)
    # Bilinear values are between their neighbours: only beside a value above the threshold can one
    # be. The rest of the map needs no scaling.
    above = probabilities > threshold
    rows = _blocks(np.asarray(above.any(axis=1)), height)
    columns = _blocks(np.asarray(above.any(axis=0)), width)
    if rows is None or columns is None:
        return mask
    part = probabilities[rows.of_map, columns.of_map]
    view = mask[rows.of_mask, columns.of_mask]
    scaled = scale_probabilities(part, *view.shape)
    np.greater(scaled, threshold, out=view.view(bool))
    return mask


class _Blocks(NamedTuple):
    """A part of one side of a map, and the same part of the mask."""

    of_map: slice
    of_mask: slice


def _blocks(above: NDArray[np.bool_], length: int) -> _Blocks | None:
    """Return the part of a side around the values above the threshold; None if there is none.

    It begins and ends where a sample of the map and one of the mask begin together, so that scaling
    the part gives the same values as scaling the whole.

    Args:
        above: Whether a row or column of the map has such a value.
        length: Rows or columns of the mask.
    """
    places = np.flatnonzero(above)
    if not len(places):
        return None
    size = len(above)
    count = math.gcd(size, length)
    step = size // count
    first = max(0, int(places[0]) - 1) // step
    last = min(count, -(-(int(places[-1]) + 2) // step))
    scaled = length // count
    return _Blocks(slice(first * step, last * step), slice(first * scaled, last * scaled))


def scale_probabilities(probabilities: ProbabilityMap, height: int, width: int) -> ProbabilityMap:
    """Scale a probability map bilinearly.

    Args:
        probabilities: H x W map of any size.
        height: New height in pixels.
        width: New width in pixels.
    """
    if probabilities.shape == (height, width):
        return probabilities
    return np.asarray(cv2.resize(probabilities, (width, height), interpolation=cv2.INTER_LINEAR))


def agreement(found: NDArray[np.float32], wanted: NDArray[np.float32], threshold: float) -> float:
    """Return the Dice of two stacks of probability maps over all their pixels; 1 if both are empty.

    It is NaN if a value is: a comparison with NaN is false, so its pixels would look empty.

    Args:
        found: N x H x W probabilities.
        wanted: N x H x W probabilities to compare with.
        threshold: Probability above which a pixel is polyp.
    """
    if not (np.isfinite(found).all() and np.isfinite(wanted).all()):
        return math.nan
    ours, theirs = found > threshold, wanted > threshold
    both = int(ours.sum()) + int(theirs.sum())
    return 1.0 if both == 0 else 2 * int((ours & theirs).sum()) / both


def check_frame(frame: Frame) -> None:
    """Check that a frame is H x W x 3 or H x W x 4 uint8. Raises ValueError."""
    if (
        frame.ndim != 3
        or frame.shape[2] not in (3, 4)
        or frame.dtype != np.uint8
        or 0 in frame.shape
    ):
        raise ValueError(
            f"frame of shape {frame.shape} and type {frame.dtype}: expected H x W x 3 or "
            "H x W x 4 of uint8"
        )
