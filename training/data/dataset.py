"""Frames and masks as tensors, held in memory, augmented in worker processes."""

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
    """Reads one pair at size x size: the frame RGB uint8, the mask 0 or 1."""
    mask = cv2.resize(pair.read_mask() * 255, (size, size), interpolation=cv2.INTER_AREA)
    return resize_frame(pair.read_frame(), size, size), (mask > 127).astype(np.uint8)


class PolypDataset(Dataset[tuple[Tensor, Tensor]]):
    """Frames 3 x size x size in [0, 1] with masks 1 x size x size in {0, 1}, both float32.

    Every augmentation draws from (seed, epoch, index) alone, so that a resumed run sees what an
    uninterrupted one would have seen, however many workers there are. `epoch` is set by the
    training loop; `augmentation` is a name in training.data.augmentation.AUGMENTATIONS.
    """

    def __init__(self, pairs: list[Pair], size: int, seed: int, augmentation: str) -> None:
        self.samples = [
            load_pair(p, size) for p in tqdm(pairs, "reading frames", leave=False, disable=None)
        ]
        stems = "\n".join(p.stem for p in pairs)
        self.digest = hashlib.sha256(stems.encode()).hexdigest()  # which frames these are
        self.size = size
        self.seed = seed
        self.epoch = 0
        self.augmentation = AUGMENTATIONS[augmentation]()

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        frame, mask = self.samples[index]
        if self.augmentation is not None:
            draw = np.random.SeedSequence((self.seed, self.epoch, index)).generate_state(1)[0]
            self.augmentation.set_random_seed(int(draw))
            result = self.augmentation(image=frame, mask=mask)
            frame, mask = result["image"], result["mask"]
        tensor = frame_to_tensor(frame, self.size, self.size)[0]
        return torch.from_numpy(tensor), torch.from_numpy(mask[None].astype(np.float32))


class EpochOrder(Sampler[int]):
    """The order of one epoch's frames, from (seed, epoch) alone; one of `world` processes' share.

    `skip` frames of this share have been seen before an interruption.
    """

    def __init__(self, length: int, seed: int, epoch: int, rank: int, world: int, skip: int):
        generator = torch.Generator().manual_seed(seed * 100_003 + epoch)
        order = torch.randperm(length, generator=generator)
        usable = length // world * world  # every process makes the same number of steps
        self.indices = order[:usable][rank::world][skip:].tolist()

    def __iter__(self) -> Iterator[int]:
        return iter(self.indices)

    def __len__(self) -> int:
        return len(self.indices)


def steps_per_epoch(frames: int, batch: int, world: int) -> int:
    """Full batches of one process in one epoch; at least one, which then is not full."""
    return max(1, frames // world // batch)


def training_loader(
    dataset: PolypDataset, order: EpochOrder, epoch: int, batch: int, workers: int
) -> DataLoader:
    """The shuffled batches of one epoch, as `order` says; the last incomplete one is left out."""
    dataset.epoch = epoch
    return DataLoader(
        dataset,
        batch_size=batch,
        sampler=order,
        drop_last=len(order) >= batch,
        num_workers=workers,
        pin_memory=torch.cuda.is_available(),
        worker_init_fn=_one_thread,
    )


def _one_thread(_: int) -> None:
    cv2.setNumThreads(0)  # the cores belong to the network
