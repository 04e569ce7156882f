"""Augmentation: the same seed gives the same frame, and frame and mask are transformed alike."""

from __future__ import annotations

import numpy as np
import pytest

from training.data.augmentation import AUGMENTATIONS, DarkBorder, Interlacing, SpecularSpots


def augmented(name: str, seed: int, frame: np.ndarray, mask: np.ndarray) -> dict[str, np.ndarray]:
    augmentation = AUGMENTATIONS[name]()
    assert augmentation is not None
    augmentation.set_random_seed(seed)
    return augmentation(image=frame, mask=mask)


@pytest.mark.parametrize("name", ["paper", "scope"])
def test_same_seed_gives_the_same_frame(name: str, frames: list[np.ndarray]) -> None:
    frame = frames[0][:256, :256]
    mask = (frame[..., 0] > 128).astype(np.uint8)
    one, same, other = (augmented(name, seed, frame, mask) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one["image"], same["image"])
    assert not np.array_equal(one["image"], other["image"])
    assert one["image"].shape == frame.shape
    assert one["image"].dtype == np.uint8
    assert set(np.unique(one["mask"])) <= {0, 1}


@pytest.mark.parametrize("name", ["paper", "scope"])
def test_mask_is_transformed_like_the_frame(name: str) -> None:
    frame = np.zeros((128, 128, 3), np.uint8)
    frame[20:60, 30:90] = 200
    mask = (frame[..., 0] > 0).astype(np.uint8)
    for seed in range(12):
        found = augmented(name, seed, frame, mask)
        bright = found["image"].mean(axis=2) > 90
        assert np.mean(bright == (found["mask"] > 0)) > 0.93, seed


def test_interlacing_shifts_every_other_line() -> None:
    frame = np.tile(np.arange(256, dtype=np.uint8)[None, :, None], (8, 1, 3))
    moved = Interlacing(p=1)(image=frame)["image"]
    np.testing.assert_array_equal(moved[::2], frame[::2])
    assert not np.array_equal(moved[1], frame[1])


def test_spots_only_brighten() -> None:
    frame = np.full((128, 128, 3), 80, np.uint8)
    spotted = SpecularSpots(p=1)(image=frame)["image"]
    assert spotted.min() >= 79
    assert spotted.max() > 150


def test_dark_border_covers_frame_and_mask_equally() -> None:
    ones = np.ones((64, 64, 3), np.uint8)
    found = DarkBorder(p=1)(image=ones, mask=ones[..., 0])
    np.testing.assert_array_equal(found["image"][..., 0], found["mask"])
    assert found["mask"][32, 32] == 1
    assert found["mask"][0, 0] == 0
