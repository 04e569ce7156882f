"""Reference masks of the demo clip, and masks read back from videos.

The reference masks are stored with the project, in docs/demo/masks. ONNX Runtime computed them in
float32; each is cut at the card's threshold and peak, at the size of the frame.
`xpnet doctor verify --store-masks` writes them.
"""

from __future__ import annotations

import json
from contextlib import closing
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
from xpnet.images import clip_frames, decode
from xpnet.inference import Inference
from xpnet.paths import DEMO_CLIP, ROOT, onnx_path
from xpnet.serving.onnx_inference import OnnxInference
from xpnet.tensorrt.engine_builder import read_onnx_card

REFERENCE_DIR = ROOT / "docs" / "demo" / "masks"
REFERENCE_FRAMES = (160, 200, 280, 320)
"""Frames of the clip with reference masks, counted from 0; each shows a polyp."""
MASK_COLOUR = "ff00ff"
"""Colour for `xpnet run --colour` that no tissue has, so that masks can be read from the video."""
MASKS_ALONE = (
    "--colour", MASK_COLOUR, "--opacity", "1", "--no-smoothing", "--no-confirmation",
    "--region", "full",
)  # fmt: skip
"""Options of `xpnet run` that draw the mask of each frame by itself, as the reference masks are."""
MIN_MAGENTA = 64
"""Levels by which red and blue exceed green in a pixel of MASK_COLOUR."""
MIN_CHANGE = 30
"""Levels of a channel by which a pixel of a mask differs from the source video."""


@dataclass(frozen=True)
class ReferenceMasks:
    """The reference masks of one model.

    Attributes:
        model: Name of the ONNX model in the repository.
        masks: Masks by frame number, each height x width of the clip.
    """

    model: str
    masks: dict[int, Mask]


def store_reference_masks(repository: Path, models: tuple[str, ...]) -> list[Path]:
    """Compute and write the reference masks.

    Args:
        repository: The Triton model repository.
        models: Names of models that are served as ONNX.

    Returns:
        The written files.

    Raises:
        UserError: A model is missing, or finds no polyp on one of the frames.
    """
    frames = read_reference_frames(DEMO_CLIP)
    written = []
    for model in models:
        onnx = onnx_path(repository / model)
        folder = REFERENCE_DIR / model
        folder.mkdir(parents=True, exist_ok=True)
        with closing(OnnxInference(onnx)) as inference:
            for number, mask in predict_masks(inference, frames).items():
                if not mask.any():
                    raise UserError(f"{model}: no polyp on frame {number} of {DEMO_CLIP.name}")
                path = folder / f"{number:03}.png"
                write_bytes(path, cv2.imencode(".png", mask * 255)[1].tobytes())
                written.append(path)
        note = {
            "clip": DEMO_CLIP.name,
            "card_fingerprint": inference.card.fingerprint(),
            "runtime": "onnxruntime, fp32",
        }
        write_text(folder / "masks.json", json.dumps(note, indent=2) + "\n")
    return written


def load_reference_masks(repository: Path, model: str) -> ReferenceMasks:
    """Read the reference masks of an ONNX model.

    Args:
        repository: The Triton model repository.
        model: Name of a model that is served as ONNX.

    Raises:
        UserError: The masks are missing, cannot be read, or belong to another card.
    """
    folder = REFERENCE_DIR / model
    hint = "`xpnet doctor verify --store-masks` writes them"
    card = read_onnx_card(onnx_path(repository / model))
    try:
        note: dict[str, Any] = json.loads((folder / "masks.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{folder}: no reference masks ({error}): {hint}") from error
    if note.get("card_fingerprint") != card.fingerprint():
        raise UserError(
            f"{folder}: the card of {model} is another one than that of these masks: {hint}"
        )
    masks = {}
    for number in REFERENCE_FRAMES:
        path = folder / f"{number:03}.png"
        image = decode(path, cv2.IMREAD_GRAYSCALE)
        if image is None:
            raise UserError(f"{path}: cannot be read: {hint}")
        masks[number] = np.asarray(image > 127, dtype=np.uint8)
    return ReferenceMasks(model, masks)


def predict_masks(inference: Inference, frames: dict[int, Frame]) -> dict[int, Mask]:
    """Compute the masks of frames, each at the size of its frame.

    Args:
        inference: A loaded model.
        frames: Frames by number, each H x W x 3 RGB.
    """
    card = inference.card
    masks = {}
    for number, frame in frames.items():
        tensor = frame_to_tensor(frame, card.input.height, card.input.width)
        masks[number] = frame_mask(frame, inference.submit(tensor).result(), card)
    return masks


def frame_mask(frame: Frame, probabilities: ProbabilityMap, card: Card) -> Mask:
    """Convert a probability map to a mask of the frame's size, with the card's threshold and peak.

    Args:
        frame: H x W x 3 RGB.
        probabilities: Probability map of any size.
        card: Card of the model that computed the map.
    """
    height, width = frame.shape[:2]
    return probabilities_to_mask(probabilities, height, width, card.threshold, card.peak)


def read_reference_frames(clip: Path) -> dict[int, Frame]:
    """Return the frames REFERENCE_FRAMES of a clip, by number.

    Args:
        clip: A video.

    Raises:
        UserError: The clip is shorter than that.
    """
    frames = {n: frame for n, frame in enumerate(clip_frames(clip)) if n in REFERENCE_FRAMES}
    if len(frames) < len(REFERENCE_FRAMES):
        raise UserError(f"{clip}: ends before frame {REFERENCE_FRAMES[-1]}")
    return frames


def read_drawn_masks(video: Path) -> dict[int, Mask]:
    """Read masks back from a video in which they are drawn in MASK_COLOUR with opacity 1.

    Args:
        video: A video made by `xpnet run --colour ff00ff --opacity 1`.

    Returns:
        The masks of the frames REFERENCE_FRAMES, by number.

    Raises:
        UserError: The video is too short.
    """
    masks = {}
    for number, frame in read_reference_frames(video).items():
        red, green, blue = (frame[..., i].astype(np.int16) for i in range(3))
        drawn = ((np.minimum(red, blue) - green) > MIN_MAGENTA).astype(np.uint8)
        # The contour is two pixels wide along the edge: one of them is outside the mask.
        masks[number] = np.asarray(cv2.erode(drawn, np.ones((3, 3), np.uint8)), dtype=np.uint8)
    return masks


def read_changed_masks(video: Path, source: Path) -> dict[int, Mask]:
    """Find where a video differs from its source.

    Args:
        video: A video with masks drawn in any colour, at any size.
        source: The video without masks.

    Returns:
        The areas that differ in the frames REFERENCE_FRAMES, by number, at the source's size.

    Raises:
        UserError: One of the videos is too short.
    """
    source_frames = read_reference_frames(source)
    masks = {}
    for number, frame in read_reference_frames(video).items():
        height, width = source_frames[number].shape[:2]
        scaled = cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA)
        levels = cv2.absdiff(scaled, source_frames[number]).max(axis=2)
        changed = (levels > MIN_CHANGE).astype(np.uint8)
        # Opening removes the small spots that compression changed.
        opened = cv2.morphologyEx(changed, cv2.MORPH_OPEN, np.ones((5, 5), np.uint8))
        masks[number] = np.asarray(opened, dtype=np.uint8)
    return masks


def masks_dice(actual: dict[int, Mask], expected: dict[int, Mask]) -> float:
    """Return the Dice of masks over all pixels of all frames.

    Args:
        actual: Masks by frame number; frames that `expected` has not are ignored.
        expected: Masks by frame number.

    Raises:
        UserError: Two masks of a frame have different sizes.
    """
    for number, mask in expected.items():
        if actual[number].shape != mask.shape:
            raise UserError(
                f"frame {number}: mask of {actual[number].shape}, expected {mask.shape}"
            )
    found, wanted = (np.stack([m[n] for n in expected]) for m in (actual, expected))
    return agreement(found.astype(np.float32), wanted.astype(np.float32), 0.5)
