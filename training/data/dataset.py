"""Frames and masks as tensors: kept in memory, augmented in worker processes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler
from tqdm import tqdm

from training.data.augmentation import AUGMENTATIONS
from training.data.pairs import Pair
from xpnet.frames import Frame, Mask, frame_to_tensor, resize_frame


def load_pair(pair: Pair, size: int) -> tuple[Frame, Mask]:
    """Read a pair at size x size pixels: the frame as RGB uint8, the mask as 0 or 1."""
    mask = cv2.resize(pair.read_mask() * 255, (size, size), interpolation=cv2.INTER_AREA)
    return resize_frame(pair.read_frame(), size, size), (mask > 127).astype(np.uint8)


class PolypDataset(Dataset[tuple[Tensor, Tensor]]):
    """Frames 3 x size x size in [0, 1] with masks 1 x size x size in {0, 1}, both float32.

    The augmentation of a frame depends on (seed, epoch, index) only. A resumed run therefore uses
    the same frames as an uninterrupted one, with any number of workers.

    Args:
        pairs: Frames and masks; all are read at once.
        size: Height and width, in pixels.
        seed: Seed of the augmentation.
        augmentation: A name in training.data.augmentation.AUGMENTATIONS.

    Attributes:
        epoch: Current epoch; the training loop sets it.
        digest: SHA-256 of the file names: which frames the set contains.
    """

    def __init__(self, pairs: list[Pair], size: int, seed: int, augmentation: str) -> None:
        self.samples = [
            load_pair(p, size) for p in tqdm(pairs, "reading frames", leave=False, disable=None)
        ]
        stems = "\n".join(p.stem for p in pairs)
        self.digest = hashlib.sha256(stems.encode()).hexdigest()
        self.size = size
        self.seed = seed
        self.epoch = 0
        self.augmentation = AUGMENTATIONS[augmentation]()

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        frame, mask = self.samples[index]
        if self.augmentation is not None:
            seed = np.random.SeedSequence((self.seed, self.epoch, index)).generate_state(1)[0]
            self.augmentation.set_random_seed(int(seed))
            result = self.augmentation(image=frame, mask=mask)
            frame, mask = result["image"], result["mask"]
        tensor = frame_to_tensor(frame, self.size, self.size)[0]
        return torch.from_numpy(tensor), torch.from_numpy(mask[None].astype(np.float32))


class EpochSampler(Sampler[int]):
    """Order of the frames of one epoch for one process; it depends on seed and epoch only.

    Args:
        length: Number of frames in the data set.
        seed: Seed of the run.
        epoch: Number of the epoch, from 0.
        rank: Rank of this process.
        world_size: Number of processes; each gets an equal part of the frames.
        skip: Number of frames of this process already used before an interruption.
    """

    def __init__(self, length: int, seed: int, epoch: int, rank: int, world_size: int, skip: int):
        generator = torch.Generator().manual_seed(seed * 100_003 + epoch)
        order = torch.randperm(length, generator=generator)
        usable = length // world_size * world_size  # the same number of steps in every process
        self.indices = order[:usable][rank::world_size][skip:].tolist()

    def __iter__(self) -> Iterator[int]:
        return iter(self.indices)

    def __len__(self) -> int:
        return len(self.indices)


def steps_per_epoch(frames: int, batch: int, world_size: int) -> int:
    """Return the number of full batches per process and epoch; 1 if there is no full batch."""
    return max(1, frames // world_size // batch)


def training_loader(
    dataset: PolypDataset, sampler: EpochSampler, epoch: int, batch: int, workers: int
) -> DataLoader:
    """Return the batches of one epoch in the order of the sampler.

    The last batch is dropped if it is incomplete, unless it is the only one.
    """
    dataset.epoch = epoch
    return DataLoader(
        dataset,
        batch_size=batch,
        sampler=sampler,
        drop_last=len(sampler) >= batch,
        num_workers=workers,
        pin_memory=torch.cuda.is_available(),
        worker_init_fn=_disable_opencv_threads,
    )


def _disable_opencv_threads(_: int) -> None:
    cv2.setNumThreads(0)  # the training process needs the cores
