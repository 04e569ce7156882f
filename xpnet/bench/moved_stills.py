"""Clips with true masks made from single frames: a hand that holds the scope nearly still.

No set of colonoscopy clips at full rate has a mask for each frame. A single frame that is moved
slowly, with the noise of a sensor, has: its mask is moved alike.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import cv2
import numpy as np

from xpnet.bench.steadiness import FPS, SIDE, Sequence
from xpnet.frames import Frame, Mask, ProbabilityMap

FRAMES = 25
"""Frames of each clip: one second."""
ZOOM = 1.15
"""Mean enlargement: little of what is outside the frame moves in, which is its mirror image."""
MAX_STILLS = 400
"""Most frames of a data set: the maps of their clips take 6.5 MB of memory for each."""
SHIFT, SCALE, DEGREES = 0.03, 0.04, 3.0
"""Largest shift, in shares of the side, change of scale, and rotation."""
BORDER = cv2.BORDER_REFLECT_101
NOISE, FLICKER = 3.0, 0.02
"""Standard deviation of the sensor's noise in levels of 255, and of the light's brightness."""


def moved(frame: Frame, mask: Mask, seed: int) -> Iterator[tuple[Frame, Mask]]:
    """Yield the frames of a clip with their masks.

    Args:
        frame: H x W x 3, RGB.
        mask: H x W of 0 and 1.
        seed: Of the movement and the noise.
    """
    random = np.random.default_rng(seed)
    height, width = mask.shape
    phases = random.uniform(0, 2 * math.pi, 4)
    for number in range(FRAMES):
        # A quarter to a half of a period in the second: slow, and in one direction at a time.
        x, y, scale, turn = np.sin(phases + number / FPS * np.array([2.0, 2.5, 1.5, 3.0]))
        matrix = cv2.getRotationMatrix2D(
            (width / 2, height / 2), DEGREES * turn, ZOOM * (1 + SCALE * scale)
        )
        shift = np.array([SHIFT * width * x, SHIFT * height * y])
        matrix = np.column_stack([matrix[:, :2], matrix[:, 2] + shift])
        picture = cv2.warpAffine(
            frame, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=BORDER
        )
        lit = picture * (1 + FLICKER * random.standard_normal())
        noisy = lit + NOISE * random.standard_normal(picture.shape)
        moved_mask = cv2.warpAffine(
            mask, matrix, (width, height), flags=cv2.INTER_NEAREST, borderMode=BORDER
        )
        yield (
            np.clip(np.rint(noisy), 0, 255).astype(np.uint8),
            np.asarray(moved_mask, dtype=np.uint8),
        )


def read_stills(
    name: str, samples: Iterable[Any], infer: Callable[[Frame], ProbabilityMap]
) -> Sequence:
    """Return the maps and true masks of the clips of single frames, one after the other.

    Args:
        name: For the report.
        samples: Frames with masks (training.data.readers.Sample).
        infer: Returns the map of a frame in RGB.
    """
    maps: list[ProbabilityMap] = []
    truths, starts = [], set()
    for seed, sample in enumerate(samples):
        if maps:
            starts.add(len(maps))
        for frame, mask in moved(sample.pair.read_frame(), sample.pair.read_mask(), seed):
            maps.append(infer(frame))
            truth = cv2.resize(mask, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
            truths.append(np.asarray(truth, dtype=np.uint8))
    return Sequence(name, maps, FPS, truths, frozenset(starts))
