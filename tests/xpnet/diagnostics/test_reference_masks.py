"""Stored masks, and masks read back from pictures."""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from xpnet.diagnostics import reference_masks
from xpnet.diagnostics.reference_masks import (
    CLIP,
    DRAWN,
    NUMBERS,
    dice,
    masks_of,
    stored_masks,
    wanted_frames,
)
from xpnet.errors import UserError
from xpnet.images import clip_frames, frame_count
from xpnet.overlay import OverlayStyle, draw_mask, parse_colour
from xpnet.paths import MODEL_REPOSITORY
from xpnet.serving.onnx_inference import OnnxInference

MODELS = ("xpnet_lite_onnx", "xpnet_onnx")


@pytest.mark.parametrize("model", MODELS)
def test_the_stored_masks_are_those_of_the_weights_that_are_served(model: str) -> None:
    stored = stored_masks(MODEL_REPOSITORY, model).masks
    assert tuple(stored) == NUMBERS
    assert all(mask.shape == (404, 720) and mask.any() for mask in stored.values())
    inference = OnnxInference(MODEL_REPOSITORY / model / "1" / "model.onnx")
    found = masks_of(inference, wanted_frames(CLIP))
    inference.close()
    assert dice(found, stored) > 0.99


def test_masks_of_other_weights_are_refused(tmp_path: Path) -> None:
    lite, other = MODELS
    shutil.copytree(MODEL_REPOSITORY / lite, tmp_path / lite)
    shutil.copy(MODEL_REPOSITORY / other / "1" / "model.onnx", tmp_path / lite / "1" / "model.onnx")
    with pytest.raises(UserError, match="masks of other weights than xpnet_lite_onnx has"):
        stored_masks(tmp_path, lite)
    with pytest.raises(UserError, match="no stored masks"):
        stored_masks(tmp_path, "nosuch")


def video(path: Path, pictures: list[np.ndarray]) -> None:
    """Lossless: what is lost in compression, the integration test of the graph shows."""
    height, width = pictures[0].shape[:2]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"FFV1"), 25, (width, height))
    for picture in pictures:
        writer.write(cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    writer.release()


@pytest.fixture
def painted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, dict]:
    """Two frames of the clip as a video, with an ellipse drawn on each."""
    monkeypatch.setattr(reference_masks, "NUMBERS", (0, 1))
    frames = [frame for n, frame in enumerate(clip_frames(CLIP)) if n in (40, 280)]
    drawn = {}
    style = OverlayStyle(parse_colour(DRAWN), 1)
    for number, frame in enumerate(frames):
        mask = np.zeros(frame.shape[:2], np.uint8)
        cv2.ellipse(mask, (300 + 90 * number, 200), (90, 60), 20, 0, 360, 1, -1)
        drawn[number] = mask
    video(tmp_path / "source.mkv", frames)
    for number, frame in enumerate(frames):
        draw_mask(frame, drawn[number], style)
    video(tmp_path / "drawn.mkv", frames)
    return tmp_path, drawn


def test_drawn_masks_are_read_back(painted: tuple[Path, dict]) -> None:
    folder, drawn = painted
    assert dice(reference_masks.drawn_masks(folder / "drawn.mkv"), drawn) > 0.98
    nothing = reference_masks.drawn_masks(folder / "source.mkv")
    assert not any(mask.any() for mask in nothing.values())


def test_what_was_painted_is_told_from_the_source(painted: tuple[Path, dict]) -> None:
    folder, drawn = painted
    found = reference_masks.changed_masks(folder / "drawn.mkv", folder / "source.mkv")
    assert dice(found, drawn) > 0.9
    same = reference_masks.changed_masks(folder / "source.mkv", folder / "source.mkv")
    assert not any(mask.any() for mask in same.values())


def test_a_short_video_and_another_size_are_named(tmp_path: Path) -> None:
    video(tmp_path / "short.mkv", [np.zeros((64, 64, 3), np.uint8)] * 3)
    assert frame_count(tmp_path / "short.mkv") == 3
    assert frame_count(tmp_path / "none.mkv") == 0
    with pytest.raises(UserError, match="ends before frame 280"):
        wanted_frames(tmp_path / "short.mkv")
    with pytest.raises(UserError, match=r"a mask of \(2, 2\), expected \(4, 4\)"):
        dice({0: np.zeros((2, 2), np.uint8)}, {0: np.zeros((4, 4), np.uint8)})
