"""Masks of the demo clip that are stored with the project, and masks read back from a video.

The stored ones are what ONNX Runtime computes in float32, cut at the card's threshold at the size
of the frame: `xpnet doctor verify --store-masks` makes them.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from xpnet.card import Card
from xpnet.errors import UserError
from xpnet.files import write_bytes, write_text
from xpnet.frames import (
    Frame,
    Mask,
    ProbabilityMap,
    agreement,
    frame_to_tensor,
    probabilities_to_mask,
)
from xpnet.images import clip_frames
from xpnet.inference import Inference
from xpnet.paths import ROOT
from xpnet.serving.onnx_inference import OnnxInference

CLIP = ROOT / "docs" / "demo" / "colonoscopy.mp4"
FOLDER = ROOT / "docs" / "demo" / "masks"
NUMBERS = (40, 120, 200, 280)
"""Frames of the clip whose masks are stored, from 0; each shows a polyp."""
DRAWN = "ff00ff"
"""The colour in which a graph is asked to draw, opaque: nothing in a colon has it."""
CHANGED = 30
"""Levels of a channel by which a pixel differs from the source's where something was drawn."""


@dataclass(frozen=True)
class StoredMasks:
    """The masks of one model by the number of their frame, each height x width of 0 and 1."""

    model: str
    masks: dict[int, Mask]


def store(repository: Path, models: tuple[str, ...]) -> list[Path]:
    """Computes and writes the masks of `models`, which are served as ONNX; returns the files.

    Raises:
        UserError: a model is missing, or marks nothing on one of the frames.
    """
    frames = wanted_frames(CLIP)
    written = []
    for model in models:
        onnx = repository / model / "1" / "model.onnx"
        folder = FOLDER / model
        folder.mkdir(parents=True, exist_ok=True)
        inference = OnnxInference(onnx)
        try:
            for number, mask in masks_of(inference, frames).items():
                if not mask.any():
                    raise UserError(f"{model}: marks nothing on frame {number} of {CLIP.name}")
                path = folder / f"{number:03}.png"
                write_bytes(path, cv2.imencode(".png", mask * 255)[1].tobytes())
                written.append(path)
        finally:
            inference.close()
        note = {"clip": CLIP.name, "onnx_sha256": digest(onnx), "runtime": "onnxruntime, fp32"}
        write_text(folder / "masks.json", json.dumps(note, indent=2) + "\n")
    return written


def stored_masks(repository: Path, model: str) -> StoredMasks:
    """The masks stored for an ONNX model of the repository.

    Raises:
        UserError: there are none, one cannot be read, or they are of other weights.
    """
    folder = FOLDER / model
    hint = "`xpnet doctor verify --store-masks` makes them"
    try:
        note: dict[str, Any] = json.loads((folder / "masks.json").read_text(encoding="utf-8"))
        found = digest(repository / model / "1" / "model.onnx")
    except (OSError, ValueError) as error:
        raise UserError(f"{folder}: no stored masks ({error}): {hint}") from error
    if note.get("onnx_sha256") != found:
        raise UserError(f"{folder}: masks of other weights than {model} has: {hint}")
    masks = {}
    for number in NUMBERS:
        path = folder / f"{number:03}.png"
        picture = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        if picture is None:
            raise UserError(f"{path}: cannot be read: {hint}")
        masks[number] = np.asarray(picture > 127, dtype=np.uint8)
    return StoredMasks(model, masks)


def masks_of(inference: Inference, frames: dict[int, Frame]) -> dict[int, Mask]:
    """What a loaded model marks on frames, at their size."""
    card = inference.card
    found = {}
    for number, frame in frames.items():
        tensor = frame_to_tensor(frame, card.input.height, card.input.width)
        found[number] = mask_on(frame, inference.submit(tensor).result(), card)
    return found


def mask_on(frame: Frame, probabilities: ProbabilityMap, card: Card) -> Mask:
    """The mask of a probability map at the size of its frame."""
    height, width = frame.shape[:2]
    return probabilities_to_mask(probabilities, height, width, card.threshold)


def wanted_frames(clip: Path) -> dict[int, Frame]:
    """The frames of NUMBERS of a clip. Raises UserError where it is shorter."""
    frames = {n: frame for n, frame in enumerate(clip_frames(clip)) if n in NUMBERS}
    if len(frames) < len(NUMBERS):
        raise UserError(f"{clip}: ends before frame {NUMBERS[-1]}")
    return frames


def drawn_masks(video: Path) -> dict[int, Mask]:
    """The masks in a video whose masks were drawn in DRAWN, opaque, at its frames NUMBERS.

    Raises:
        UserError: the video is too short.
    """
    found = {}
    for number, frame in wanted_frames(video).items():
        red, green, blue = (frame[..., i].astype(np.int16) for i in range(3))
        mask = ((np.minimum(red, blue) - green) > 64).astype(np.uint8)
        # The contour is drawn two pixels wide along the edge: one of them lies outside.
        found[number] = np.asarray(cv2.erode(mask, np.ones((3, 3), np.uint8)), dtype=np.uint8)
    return found


def changed_masks(video: Path, source: Path) -> dict[int, Mask]:
    """Where a video differs from its source, at its frames NUMBERS, at the source's size."""
    originals = wanted_frames(source)
    found = {}
    for number, frame in wanted_frames(video).items():
        height, width = originals[number].shape[:2]
        same_size = cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA)
        levels = cv2.absdiff(same_size, originals[number]).max(axis=2)
        mask = (levels > CHANGED).astype(np.uint8)
        # What compression changed are specks; what was painted is an area.
        opened = cv2.morphologyEx(mask, cv2.MORPH_OPEN, np.ones((5, 5), np.uint8))
        found[number] = np.asarray(opened, dtype=np.uint8)
    return found


def dice(found: dict[int, Mask], wanted: dict[int, Mask]) -> float:
    """Dice over all pixels of the frames of `wanted`. Raises UserError where sizes differ."""
    for number, mask in wanted.items():
        if found[number].shape != mask.shape:
            raise UserError(
                f"frame {number}: a mask of {found[number].shape}, expected {mask.shape}"
            )
    ours, theirs = (np.stack([m[n] for n in wanted]) for m in (found, wanted))
    return agreement(ours.astype(np.float32), theirs.astype(np.float32), 0.5)


def digest(path: Path) -> str:
    """SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
