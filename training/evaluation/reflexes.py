"""`xpnet evaluate reflexes`: how many marked areas are mostly specular reflexes of the light.

A reflex is bright and without colour. An overexposed polyp is, too: the same count on true areas
says what a filter that leaves out such areas would hide.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import cv2
import numpy as np

from training.data.readers import Sample
from xpnet.errors import UserError
from xpnet.frames import Frame, Mask, frame_to_tensor, probabilities_to_mask
from xpnet.host.cpu import measured_here
from xpnet.inference import Inference, InferenceError
from xpnet.polyps import MIN_AREA, components

SIDE = 256
"""Height and width in pixels at which areas and reflexes are compared."""
BRIGHT = 225
"""Least value of a reflex's brightest channel, of 255."""
MOST_COLOUR = 0.25
"""Largest difference between a reflex's channels, as a share of the brightest."""
MOSTLY = 0.5
"""Share of an area's pixels from which it is mostly reflex."""
KINDS = {
    "empty": "false, on frames without a polyp",
    "false": "false, on frames with a polyp",
    "true": "true: they touch a polyp",
}


def find_reflexes(frame: Frame) -> Mask:
    """Return 1 where a frame shows a reflex or its edge, H x W.

    Args:
        frame: H x W x 3 uint8 RGB, about SIDE pixels wide.
    """
    brightest = frame.max(axis=2).astype(np.int32)
    colour = brightest - frame.min(axis=2)
    found = (brightest >= BRIGHT) & (colour <= MOST_COLOUR * brightest)
    return np.asarray(cv2.dilate(found.astype(np.uint8), np.ones((3, 3), np.uint8)), dtype=np.uint8)


def count_reflexes(inference: Inference, samples: Iterable[Sample]) -> dict[str, Any]:
    """Count the areas that a model marks, and those that are mostly reflexes.

    Args:
        inference: The model.
        samples: Frames with masks.

    Returns:
        The machine, the date, `model`, `frames`, `frames_without_polyp`, and for each of KINDS
        `areas` and `mostly_reflex`. Areas below MIN_AREA do not count.

    Raises:
        UserError: A frame or mask cannot be read, or inference fails.
    """
    card = inference.card
    areas = {kind: [0, 0] for kind in KINDS}
    frames = empty = 0
    for sample in samples:
        frame, truth = sample.pair.read_frame(), sample.pair.read_mask()
        tensor = frame_to_tensor(frame, card.input.height, card.input.width)
        try:
            probabilities = inference.submit(tensor).result()
        except InferenceError as error:
            raise UserError(f"{sample.pair.image}: inference failed: {error}") from error
        marked = probabilities_to_mask(probabilities, SIDE, SIDE, card.threshold, card.peak)
        small = cv2.resize(frame, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
        reflexes = find_reflexes(np.asarray(small, dtype=np.uint8)).astype(bool)
        polyps = cv2.resize(truth, (SIDE, SIDE), interpolation=cv2.INTER_NEAREST).astype(bool)
        frames += 1
        empty += not polyps.any()
        labels, sizes, _ = components(marked)
        for label, size in enumerate(sizes, 1):
            if size < MIN_AREA * marked.size:
                continue
            inside = labels == label
            kind = "true" if polyps[inside].any() else "false" if polyps.any() else "empty"
            areas[kind][0] += 1
            areas[kind][1] += bool(reflexes[inside].mean() > MOSTLY)
    return {
        **measured_here(),
        "model": card.name,
        "frames": frames,
        "frames_without_polyp": empty,
        **{kind: {"areas": n, "mostly_reflex": m} for kind, (n, m) in areas.items()},
    }


def as_markdown(found: dict[str, Any]) -> str:
    """Return the counts as a table.

    Args:
        found: The result of `count_reflexes`.
    """
    lines = ["| marked areas | number | mostly reflex |", "|---|---|---|"]
    lines += [
        f"| {title} | {found[kind]['areas']} | {found[kind]['mostly_reflex']} |"
        for kind, title in KINDS.items()
    ]
    lines += [
        "",
        f"`{found['model']}`, {found['frames']} frames, {found['frames_without_polyp']} of them "
        f"without a polyp; {found['machine']}, {found['date']}.",
    ]
    return "\n".join(lines) + "\n"
