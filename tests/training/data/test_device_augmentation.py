"""Augmentation on the device: geometry, artefacts, order, and parts without a polyp."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.training.conftest import make_discs
from training.data.dataset import EpochSampler, PolypDataset
from training.data.device_augmentation import augment, draw_parameters
from training.data.device_batches import DeviceBatches
from training.data.negative_windows import MIN_SIDE, crop, find_negative_windows
from training.data.readers import read_data_set
from xpnet.errors import UserError


def dataset(root: Path, **changes: object) -> PolypDataset:
    pairs = [sample.pair for sample in read_data_set(root, "groups").in_split("train")]
    values = {"size": 64, "seed": 3, "augmentation": "scope", **changes}
    return PolypDataset(pairs, **values)  # type: ignore[arg-type]


def batches(data: PolypDataset, epoch: int = 0, skip: int = 0) -> list[torch.Tensor]:
    sampler = EpochSampler(data.epoch_frames, data.seed, epoch, 0, 1, skip)
    made = DeviceBatches(data, 2, torch.device("cpu"))
    return [frames for frames, _ in made.epoch(sampler, epoch)]


def test_frame_and_mask_move_together(discs: Path) -> None:
    """The disc is bright and the noise around it dark, in every geometry."""
    data = dataset(discs, augmentation="paper")
    sampler = EpochSampler(data.epoch_frames, 1, 0, 0, 1, 0)
    for frames, masks in DeviceBatches(data, 4, torch.device("cpu")).epoch(sampler, 0):
        assert frames.shape == (4, 3, 64, 64)
        assert set(masks.unique().tolist()) <= {0.0, 1.0}
        for frame, mask in zip(frames.mean(1), masks[:, 0], strict=True):
            assert 0 <= float(frame.min()) <= float(frame.max()) <= 1
            assert frame[mask > 0].mean() > 1.5 * frame[mask == 0].mean()


def test_resumed_epoch_gives_the_same_batches(discs: Path) -> None:
    data = dataset(discs, negative_crops=0.5)
    whole = batches(data)
    resumed = batches(data, skip=4)
    assert len(whole) == 4
    assert len(resumed) == 2
    for ours, theirs in zip(resumed, whole[2:], strict=True):
        assert torch.equal(ours, theirs)
    assert not torch.equal(whole[0], batches(data, epoch=1)[0])


def test_no_augmentation_returns_the_frames(discs: Path) -> None:
    data = dataset(discs, augmentation="none")
    first = batches(data)[0][0]
    order = EpochSampler(data.epoch_frames, data.seed, 0, 0, 1, 0).order
    expected = torch.from_numpy(data.samples[order[0]][0]).permute(2, 0, 1) / 255
    torch.testing.assert_close(first, expected)


def test_each_artefact_occurs_and_keeps_the_range(discs: Path) -> None:
    random = np.random.default_rng(1)
    windows = np.tile(np.array((0, 0, 1), np.float32), (200, 1))
    drawn = draw_parameters(random, windows, 64, with_artefacts=True)
    counts = {
        "noise": drawn.noise, "interlacing": drawn.interlacing, "quality": drawn.quality,
        "border": drawn.border[:, 0], "spots": drawn.spots[:, 0, 2],
        "blur": 1 - drawn.blur[:, 4, 4],
    }  # fmt: skip
    shares = {name: float((values != 0).float().mean()) for name, values in counts.items()}
    for name, expected in {"noise": 0.15, "interlacing": 0.08, "quality": 0.2, "border": 0.2,
                           "spots": 0.2, "blur": 0.15}.items():  # fmt: skip
        assert shares[name] == pytest.approx(expected, abs=0.09), name
    frames = torch.randint(0, 256, (200, 3, 64, 64), dtype=torch.uint8)
    masks = torch.ones(200, 1, 64, 64, dtype=torch.uint8)
    augmented, kept = augment(frames, masks, drawn, torch.Generator().manual_seed(1))
    assert 0 <= float(augmented.min()) <= float(augmented.max()) <= 1
    assert 0.5 < float(kept.mean()) < 1


def test_negative_windows_contain_no_polyp() -> None:
    frame = np.full((64, 64, 3), 150, np.uint8)
    mask = np.zeros((64, 64), np.uint8)
    mask[:20, :20] = 1
    windows = find_negative_windows(frame, mask, np.random.default_rng(1))
    assert len(windows) == 8
    for window in windows:
        assert window[2] >= MIN_SIDE - 2 / 64
        _, part = crop(frame, mask, window)
        assert not part[1:-1, 1:-1].any()
    assert len(find_negative_windows(frame, np.ones_like(mask), np.random.default_rng(1))) == 0
    assert len(find_negative_windows(frame * 0, mask, np.random.default_rng(1))) == 0


def test_empty_frames_are_repeated_to_their_share(tmp_path: Path) -> None:
    root = make_discs(tmp_path / "set")
    empty = root / "masks" / "0.png"
    import cv2

    cv2.imwrite(str(empty), np.zeros((64, 64), np.uint8))
    data = dataset(root, empty_share=0.3, negative_crops=0.5)
    assert len(data) == 8
    assert sorted(data.epoch_frames) == [*range(8), 8, 16]
    same, other, third = (data[index][0] for index in (0, 8, 16))
    assert not torch.equal(same, other)  # a repetition is augmented differently
    assert not torch.equal(other, third)
    assert sum(len(frames) for frames in batches(data)) == 10
    unchanged = dataset(root, empty_share=0.3, augmentation="none")
    assert torch.equal(unchanged[8][0], unchanged[0][0])


@pytest.mark.parametrize("augment_on", ["workers", "device"])
def test_training_with_negative_crops_runs(tiny, augment_on: str) -> None:
    from training.jobs import train

    assert train(tiny(epochs=1, augment_on=augment_on, negative_crops=0.5)).is_file()


def test_empty_share_without_an_empty_mask_is_refused(tiny) -> None:
    from training.jobs import train

    with pytest.raises(UserError, match=r"empty_share 0\.1: none of 8 training frames is without"):
        train(tiny(epochs=1, empty_share=0.1))


def test_two_processes_augment_differently(discs: Path) -> None:
    data = dataset(discs)
    made = DeviceBatches(data, 2, torch.device("cpu"))
    samplers = [EpochSampler(data.epoch_frames, 3, 0, rank, 2, 0) for rank in range(2)]
    samplers[1].order = samplers[0].order  # the same frames, so that only the augmentation differs
    first, second = (next(iter(made.epoch(sampler, 0)))[0] for sampler in samplers)
    assert not torch.equal(first, second)
