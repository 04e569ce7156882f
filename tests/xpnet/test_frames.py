from __future__ import annotations

import cv2
import numpy as np
import pytest

from xpnet.frames import (
    Segmentation,
    frame_to_tensor,
    probabilities_to_mask,
    resize_frame,
    scale_probabilities,
    shrink_plane,
    without_weak_areas,
)


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


def three_areas() -> np.ndarray:
    """Return a map with a strong square, a weak one, and two that touch at a corner."""
    found = np.full((40, 40), 0.3, np.float32)
    found[2:10, 2:10] = 0.6
    found[5, 5] = 0.9
    found[2:10, 20:28] = 0.7
    found[20:24, 20:24] = 0.6
    found[24:28, 24:28] = 0.9
    return found


def test_areas_that_nowhere_reach_the_peak_are_removed() -> None:
    given = three_areas()
    before = given.copy()
    found = without_weak_areas(given, 0.5, 0.8)
    np.testing.assert_array_equal(given, before)
    expected = before > 0.5
    expected[2:10, 20:28] = False
    np.testing.assert_array_equal(found > 0.5, expected)
    np.testing.assert_array_equal(found[expected], before[expected])
    np.testing.assert_array_equal(found[before <= 0.5], before[before <= 0.5])
    assert found.dtype == np.float32
    assert found[5, 23] == 0


@pytest.mark.parametrize("size", [(40, 40), (1080, 1920), (61, 255)])
def test_masks_lack_what_is_weak_at_every_size(size: tuple[int, int]) -> None:
    with_peak = probabilities_to_mask(three_areas(), *size, 0.5, 0.8)
    without = probabilities_to_mask(three_areas(), *size, 0.5)
    removed = (without > with_peak).nonzero()
    assert (without >= with_peak).all()
    assert len(removed[0])
    rows, columns = (places / side for places, side in zip(removed, size, strict=True))
    assert (rows < 0.3).all()
    assert (columns > 0.4).all()
    assert with_peak.any()


@pytest.mark.parametrize(
    ("threshold", "peak"), [(0.5, 0.0), (0.5, 0.5), (0.8, 0.6), (0.65, 0.69), (0.95, 0.99)]
)
def test_the_map_itself_returns_if_nothing_is_weak(threshold: float, peak: float) -> None:
    given = three_areas()
    assert without_weak_areas(given, threshold, peak) is given


@pytest.mark.parametrize("size", [(1080, 1920), (2160, 3840), (576, 720), (1079, 1350), (61, 255)])
@pytest.mark.parametrize("corner", [(0, 0), (100, 180), (246, 246)])
def test_only_the_part_around_the_polyp_is_scaled(
    size: tuple[int, int], corner: tuple[int, int]
) -> None:
    top, left = corner
    noise = np.random.default_rng(0).random((256, 256)).astype(np.float32)
    probabilities = 0.4 * noise
    probabilities[top : top + 10, left : left + 10] = noise[:10, :10]
    wanted = scale_probabilities(probabilities, *size) > 0.5
    assert wanted.any()
    found = probabilities_to_mask(probabilities, *size, 0.5)
    assert found.dtype == np.uint8
    # A probability of just the threshold may fall on either side.
    assert (found.astype(bool) != wanted).sum() <= 1


@pytest.mark.parametrize("size", [(1080, 1920), (2160, 3840), (576, 720), (1079, 1351), (540, 960)])
@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_shrunk_planes_are_nearly_averages_of_areas(
    frames: list[np.ndarray], size: tuple[int, int], kind: type
) -> None:
    levels = 1 if kind is np.uint8 else 4
    plane = cv2.resize(frames[2], size[::-1], interpolation=cv2.INTER_CUBIC).astype(kind) * levels
    found = shrink_plane(plane[..., 0], 256, 256).astype(float)
    difference = np.abs(found - resize_frame(plane[..., 0], 256, 256)) / levels
    assert difference.mean() < 0.5
    assert np.percentile(difference, 99) <= 4


def test_shrinking_a_plane_averages_its_samples() -> None:
    stripes = np.zeros((1080, 1920), np.uint8)
    stripes[::2] = 200  # sampling would give 0 or 200, or slow waves
    found = shrink_plane(stripes, 256, 256).astype(int)
    assert np.abs(found - 100).max() <= 25
    assert abs(found.mean() - 100) < 1


@pytest.mark.parametrize("size", [(100, 600), (480, 720), (600, 500)])
def test_planes_that_shrink_to_more_than_a_half_are_scaled_as_frames(
    size: tuple[int, int],
) -> None:
    plane = np.random.default_rng(0).integers(0, 255, size, dtype=np.uint8)
    np.testing.assert_array_equal(shrink_plane(plane, 256, 256), resize_frame(plane, 256, 256))
