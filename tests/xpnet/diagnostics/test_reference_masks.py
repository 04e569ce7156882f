"""Reference masks, and masks read back from videos."""

from __future__ import annotations

import shutil
from contextlib import closing
from pathlib import Path

import cv2
import numpy as np
import pytest

from xpnet.diagnostics import reference_masks
from xpnet.diagnostics.reference_masks import (
    MASK_COLOUR,
    REFERENCE_FRAMES,
    load_reference_masks,
    masks_dice,
    predict_masks,
    read_changed_masks,
    read_drawn_masks,
    read_reference_frames,
)
from xpnet.errors import UserError
from xpnet.frames import Frame, Mask
from xpnet.images import frame_count
from xpnet.overlay import OverlayStyle, draw_mask, parse_colour
from xpnet.paths import DEMO_CLIP, MODEL_REPOSITORY, onnx_path
from xpnet.serving.onnx_inference import OnnxInference

MODELS = ("xpnet_lite_onnx", "xpnet_onnx")


@pytest.fixture(scope="module")
def clip_frames() -> dict[int, Frame]:
    return read_reference_frames(DEMO_CLIP)


@pytest.mark.parametrize("model", MODELS)
def test_reference_masks_are_those_of_the_served_weights(
    clip_frames: dict[int, Frame], model: str
) -> None:
    reference = load_reference_masks(MODEL_REPOSITORY, model).masks
    assert tuple(reference) == REFERENCE_FRAMES
    assert all(mask.shape == (404, 720) and mask.any() for mask in reference.values())
    with closing(OnnxInference(onnx_path(MODEL_REPOSITORY / model))) as inference:
        masks = predict_masks(inference, clip_frames)
    assert masks_dice(masks, reference) > 0.99


def test_missing_masks_and_masks_of_other_weights_are_errors(tmp_path: Path) -> None:
    lite, other = MODELS
    shutil.copytree(MODEL_REPOSITORY / lite, tmp_path / lite)
    shutil.copy(onnx_path(MODEL_REPOSITORY / other), onnx_path(tmp_path / lite))
    message = "the card of xpnet_lite_onnx is another one"
    with pytest.raises(UserError, match=message):
        load_reference_masks(tmp_path, lite)
    shutil.copytree(MODEL_REPOSITORY / other, tmp_path / "new")
    with pytest.raises(UserError, match="no reference masks"):
        load_reference_masks(tmp_path, "new")


def write_lossless_video(path: Path, frames: list[Frame]) -> None:
    height, width = frames[0].shape[:2]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"FFV1"), 25, (width, height))
    for frame in frames:
        writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
    writer.release()


@pytest.fixture
def videos(
    clip_frames: dict[int, Frame], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[Path, Path, dict[int, Mask]]:
    """A video of two frames, the same video with an ellipse drawn on each, and the ellipses."""
    monkeypatch.setattr(reference_masks, "REFERENCE_FRAMES", (0, 1))
    frames = [clip_frames[number].copy() for number in (160, 280)]
    source, drawn, masks = tmp_path / "source.mkv", tmp_path / "drawn.mkv", {}
    write_lossless_video(source, frames)
    style = OverlayStyle(parse_colour(MASK_COLOUR), 1)
    for number, frame in enumerate(frames):
        mask = np.zeros(frame.shape[:2], np.uint8)
        cv2.ellipse(mask, (300 + 90 * number, 200), (90, 60), 20, 0, 360, 1, -1)
        draw_mask(frame, mask, style)
        masks[number] = mask
    write_lossless_video(drawn, frames)
    return source, drawn, masks


def test_drawn_masks_are_read_back(videos: tuple[Path, Path, dict[int, Mask]]) -> None:
    source, drawn, masks = videos
    assert masks_dice(read_drawn_masks(drawn), masks) > 0.98
    assert not any(mask.any() for mask in read_drawn_masks(source).values())


def test_changed_areas_are_found_by_comparison_with_the_source(
    videos: tuple[Path, Path, dict[int, Mask]],
) -> None:
    source, drawn, masks = videos
    assert masks_dice(read_changed_masks(drawn, source), masks) > 0.9
    assert not any(mask.any() for mask in read_changed_masks(source, source).values())


def test_short_video_is_an_error(tmp_path: Path) -> None:
    write_lossless_video(tmp_path / "short.mkv", [np.zeros((64, 64, 3), np.uint8)] * 3)
    assert frame_count(tmp_path / "short.mkv") == 3
    assert frame_count(tmp_path / "none.mkv") == 0
    with pytest.raises(UserError, match="ends before frame 320"):
        read_reference_frames(tmp_path / "short.mkv")


def test_masks_of_different_sizes_are_an_error() -> None:
    with pytest.raises(UserError, match=r"mask of \(2, 2\), expected \(4, 4\)"):
        masks_dice({0: np.zeros((2, 2), np.uint8)}, {0: np.zeros((4, 4), np.uint8)})
