from __future__ import annotations

import cv2
import numpy as np
import pytest

from xpnet.frames import Segmentation, frame_to_tensor, probabilities_to_mask


def test_tensor_is_rgb_planes_in_zero_to_one() -> None:
    frame = np.zeros((40, 60, 3), np.uint8)
    frame[..., 0] = 255  # red
    tensor = frame_to_tensor(frame, 16, 32)
    assert tensor.shape == (1, 3, 16, 32)
    assert tensor.dtype == np.float32
    assert tensor.flags.c_contiguous
    np.testing.assert_allclose(tensor[0, 0], 1.0)
    np.testing.assert_allclose(tensor[0, 1:], 0.0)


def test_alpha_changes_nothing(frames: list[np.ndarray]) -> None:
    rgba = cv2.cvtColor(frames[0], cv2.COLOR_RGB2RGBA)
    rgba[..., 3] = np.arange(rgba.shape[1]) % 256
    np.testing.assert_array_equal(
        frame_to_tensor(rgba, 256, 256), frame_to_tensor(frames[0], 256, 256)
    )


def test_downscaling_averages_pixels() -> None:
    frame = np.zeros((64, 64, 3), np.uint8)
    frame[::2] = 200  # stripes of one pixel: sampling would give 0 or 200
    np.testing.assert_allclose(frame_to_tensor(frame, 16, 16), 100 / 255, atol=1 / 255)


@pytest.mark.parametrize(
    "frame",
    [
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 2), np.uint8),
        np.zeros((4, 4, 3), np.float32),
        np.zeros((0, 4, 3), np.uint8),
    ],
)
def test_invalid_frame_is_refused(frame: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"expected H x W x 3 or H x W x 4 of uint8"):
        frame_to_tensor(frame, 16, 16)


def disc(size: int) -> np.ndarray:
    """Return the distance to the edge of a disc as a soft map, 0.5 on the edge."""
    y, x = (np.mgrid[:size, :size] + 0.5) / size - 0.5
    return np.clip(0.5 + (0.31 - np.hypot(x, y)) * 8, 0, 1).astype(np.float32)


def test_map_is_scaled_before_thresholding_so_that_edges_are_smooth() -> None:
    true = disc(1024) > 0.5
    ours = probabilities_to_mask(disc(64), 1024, 1024, 0.5).astype(bool)
    blocky = np.kron(disc(64) > 0.5, np.ones((16, 16), bool))
    wrong = (ours ^ true).mean()
    assert wrong < 0.1 * (blocky ^ true).mean()
    assert wrong < 0.001


def test_threshold_is_applied() -> None:
    probabilities = np.array([[0.2, 0.6]], np.float32)
    np.testing.assert_array_equal(probabilities_to_mask(probabilities, 1, 2, 0.5), [[0, 1]])
    np.testing.assert_array_equal(probabilities_to_mask(probabilities, 1, 2, 0.1), [[1, 1]])


def test_empty_map_gives_an_empty_mask_of_the_frames_size() -> None:
    mask = probabilities_to_mask(np.zeros((8, 8), np.float32), 30, 50, 0.5)
    assert mask.shape == (30, 50)
    assert not mask.any()
    assert not Segmentation(mask, None).has_polyp
