"""The one preprocessing and the one postprocessing: frame to tensor, probability map to mask.

Training, evaluation, the Triton models and the graph all call these functions, so that what the
network sees in the clinic is what it saw in training.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Frame = NDArray[np.uint8]
"""H x W x 3 (RGB) or H x W x 4 (RGBA), values 0 to 255."""
Mask = NDArray[np.uint8]
"""H x W, 1 for polyp and 0 for background."""
ProbabilityMap = NDArray[np.float32]
"""H x W, the probability of polyp in [0, 1]."""


@dataclass(frozen=True)
class Segmentation:
    """A mask and the frame it belongs to: what inference hands to the overlay.

    `timestamp_ns` is the frame's presentation time, None where its stream has none;
    `probabilities` the map that the mask was cut from, in the network's size, None where only
    the mask was handed on.
    """

    mask: Mask
    timestamp_ns: int | None
    probabilities: ProbabilityMap | None = None

    @property
    def has_polyp(self) -> bool:
        """Whether any pixel passed the threshold."""
        return bool(self.mask.any())


def resize_frame(frame: Frame, height: int, width: int) -> Frame:
    """Stretches an H x W x C uint8 frame to height x width, as in the paper (no padding).

    Shrinking averages areas, so that fine texture does not alias; enlarging is bilinear.
    """
    if frame.shape[:2] == (height, width):
        return frame
    shrinks = frame.shape[0] >= height and frame.shape[1] >= width
    interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(
        cv2.resize(frame, (width, height), interpolation=interpolation), dtype=np.uint8
    )


def frame_to_tensor(frame: Frame, height: int, width: int) -> NDArray[np.float32]:
    """An RGB or RGBA frame to the network's input: 1 x 3 x height x width, float32, in [0, 1].

    Raises:
        ValueError: the frame is not H x W x 3 or H x W x 4 uint8 with at least one pixel.
    """
    check_frame(frame)
    small = resize_frame(frame, height, width)[:, :, :3]
    tensor = np.multiply(small.transpose(2, 0, 1)[None], np.float32(1 / 255), dtype=np.float32)
    return np.ascontiguousarray(tensor)


def probabilities_to_mask(
    probabilities: ProbabilityMap, height: int, width: int, threshold: float
) -> Mask:
    """A probability map of any size to a mask of height x width.

    The map is scaled to the frame first and cut at `threshold` then: cutting first would scale
    a staircase, and a blocky edge is neither pretty nor where the network put it.
    """
    # Bilinear values lie between their neighbours: where no value passes, none will.
    if not (probabilities > threshold).any():
        return np.zeros((height, width), dtype=np.uint8)
    return (scale_probabilities(probabilities, height, width) > threshold).astype(np.uint8)


def scale_probabilities(probabilities: ProbabilityMap, height: int, width: int) -> ProbabilityMap:
    """A probability map of any size to height x width, bilinear."""
    if probabilities.shape == (height, width):
        return probabilities
    return np.asarray(cv2.resize(probabilities, (width, height), interpolation=cv2.INTER_LINEAR))


def agreement(found: NDArray[np.float32], wanted: NDArray[np.float32], threshold: float) -> float:
    """Dice of the masks of two stacks of probability maps, over all their pixels; 1 for none."""
    ours, theirs = found > threshold, wanted > threshold
    both = int(ours.sum()) + int(theirs.sum())
    return 1.0 if both == 0 else 2 * int((ours & theirs).sum()) / both


def check_frame(frame: Frame) -> None:
    """Raises ValueError, naming found and expected, unless `frame` is H x W x 3 or 4 uint8."""
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
