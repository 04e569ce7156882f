"""Batches that are augmented on the device: all frames are kept in its memory."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from training.data.dataset import EpochSampler, PolypDataset
from training.data.device_augmentation import augment, draw_parameters


class DeviceBatches:
    """The frames of a data set on a device.

    The augmentation of a batch depends on (seed, epoch, process, position) only, so that a resumed
    run uses the same frames as an uninterrupted one.

    Args:
        dataset: Frames and masks; `none` as augmentation leaves them unchanged.
        batch: Frames per batch.
        device: The device.
    """

    def __init__(self, dataset: PolypDataset, batch: int, device: torch.device) -> None:
        self.dataset, self.batch, self.device = dataset, batch, device
        frames = np.stack([frame for frame, _ in dataset.samples])
        masks = np.stack([mask for _, mask in dataset.samples])
        self.frames = torch.from_numpy(frames).permute(0, 3, 1, 2).contiguous().to(device)
        self.masks = torch.from_numpy(masks)[:, None].to(device)
        self.generator = torch.Generator(device)

    def epoch(self, sampler: EpochSampler, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Return the batches of one epoch: frames in [0, 1] and masks, both float32.

        The last batch is dropped if it is incomplete, unless it is the only one.

        Args:
            sampler: Order of the frames; those of an interrupted epoch are left out.
            epoch: Number of the epoch, from 0.
        """
        d, order = self.dataset, sampler.order
        random = np.random.default_rng((d.seed, epoch, sampler.rank))
        windows = np.stack([d.draw_window(index, random) for index in order])
        with_artefacts = d.augmentation_name == "scope"
        parameters = draw_parameters(random, windows, d.size, with_artefacts).to(self.device)
        indices = torch.tensor([index % len(d) for index in order]).to(self.device)
        size = min(self.batch, len(sampler))
        for start in range(sampler.skipped, len(order) - size + 1, size):
            part = slice(start, start + size)
            frames, masks = self.frames[indices[part]], self.masks[indices[part]]
            if d.augmentation is None:
                yield frames.float() / 255, masks.float()
                continue
            seeds = np.random.SeedSequence((d.seed, epoch, sampler.rank, start))
            self.generator.manual_seed(int(seeds.generate_state(1)[0]))
            yield augment(frames, masks, parameters[part], self.generator)
