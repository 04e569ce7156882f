"""Frames and masks as tensors: kept in memory, augmented in worker processes."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Iterator

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler
from tqdm import tqdm

from training.data.augmentation import AUGMENTATIONS
from training.data.negative_windows import WHOLE_FRAME, crop, find_negative_windows
from training.data.pairs import Pair, scale_pair
from xpnet.errors import UserError
from xpnet.frames import Frame, Mask, frame_to_tensor


def load_pair(pair: Pair, size: int) -> tuple[Frame, Mask]:
    """Read a pair at size x size pixels: the frame as RGB uint8, the mask as 0 or 1."""
    return scale_pair(pair.read_frame(), pair.read_mask(), size)


class PolypDataset(Dataset[tuple[Tensor, Tensor]]):
    """Frames 3 x size x size in [0, 1] with masks 1 x size x size in {0, 1}, both float32.

    The augmentation of a frame depends on (seed, epoch, index) only. A resumed run therefore uses
    the same frames as an uninterrupted one, with any number of workers.

    Args:
        pairs: Frames and masks.
        size: Height and width, in pixels.
        seed: Seed of the augmentation.
        augmentation: A name in training.data.augmentation.AUGMENTATIONS.
        empty_share: Least share of frames without a polyp in an epoch; they are repeated for it.
        negative_crops: Share of the frames of which only a part without polyp is used, enlarged;
            without effect if the augmentation is `none`.
        samples: The frames and masks of `pairs`, if they were read already; otherwise all are read.
        more_frames: How many of the last `pairs` are of a second data set.

    Raises:
        UserError: A file cannot be read, or `empty_share` is set and no mask is empty.

    Attributes:
        samples: Frames and masks as `load_pair` returns them.
        epoch_frames: Index of each frame of an epoch, in no order. The k-th repetition of a frame
            has its index plus k times the number of frames, so that it is augmented differently.
        epoch: Current epoch; the training loop sets it.
        digest: SHA-256 of the file names: which frames the set contains.
        more_frames: The argument of this name.
    """

    def __init__(
        self,
        pairs: list[Pair],
        size: int,
        seed: int,
        augmentation: str,
        empty_share: float = 0.0,
        negative_crops: float = 0.0,
        samples: list[tuple[Frame, Mask]] | None = None,
        more_frames: int = 0,
    ) -> None:
        self.samples = samples or [
            load_pair(p, size) for p in tqdm(pairs, "reading frames", leave=False, disable=None)
        ]
        stems = "\n".join(p.stem for p in pairs)
        self.digest = hashlib.sha256(os.fsencode(stems)).hexdigest()  # a name may be no UTF-8
        self.more_frames = more_frames
        self.size = size
        self.seed = seed
        self.epoch = 0
        self.augmentation_name = augmentation
        self.augmentation = AUGMENTATIONS[augmentation]()
        self.epoch_frames = _with_empty_share(self.samples, empty_share)
        self.negative_crops = negative_crops
        self.windows = self._find_windows() if negative_crops else []

    def __len__(self) -> int:
        return len(self.samples)

    def draw_window(self, index: int, random: np.random.Generator) -> np.ndarray:
        """Return the part of a frame to use: the whole, or a window of negative_windows."""
        windows = self.windows[index % len(self)] if self.windows else ()
        if random.random() < self.negative_crops and len(windows):
            return np.asarray(random.choice(windows))
        return np.array(WHOLE_FRAME, np.float32)

    def _find_windows(self) -> list[np.ndarray]:
        random = np.random.default_rng(self.seed)
        return [find_negative_windows(frame, mask, random) for frame, mask in self.samples]

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        frame, mask = self.samples[index % len(self)]
        if self.augmentation is not None:
            seeds = np.random.SeedSequence((self.seed, self.epoch, index))
            seed = seeds.generate_state(1)[0]
            self.augmentation.set_random_seed(int(seed))
            if self.negative_crops:
                window = self.draw_window(index, np.random.default_rng(seeds))
                frame, mask = crop(frame, mask, window)
            result = self.augmentation(image=frame, mask=mask)
            frame, mask = result["image"], result["mask"]
        tensor = frame_to_tensor(frame, self.size, self.size)[0]
        return torch.from_numpy(tensor), torch.from_numpy(mask[None].astype(np.float32))


class EpochSampler(Sampler[int]):
    """Order of the frames of one epoch for one process; it depends on seed and epoch only.

    Args:
        frames: Index of each frame of an epoch.
        seed: Seed of the run.
        epoch: Number of the epoch, from 0.
        rank: Rank of this process.
        world_size: Number of processes; each gets an equal part of the frames.
        skip: Number of frames of this process already used before an interruption.

    Attributes:
        order: Frames of this process in the whole epoch.
        skipped: `skip`.
        rank: `rank`.
    """

    def __init__(
        self, frames: list[int], seed: int, epoch: int, rank: int, world_size: int, skip: int
    ) -> None:
        generator = torch.Generator().manual_seed(seed * 100_003 + epoch)
        order = torch.tensor(frames)[torch.randperm(len(frames), generator=generator)]
        usable = len(frames) // world_size * world_size  # as many steps in every process
        self.order: list[int] = order[:usable][rank::world_size].tolist()
        self.skipped = skip
        self.rank = rank

    def __iter__(self) -> Iterator[int]:
        return iter(self.order[self.skipped :])

    def __len__(self) -> int:
        return len(self.order) - self.skipped


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


def _with_empty_share(samples: list[tuple[Frame, Mask]], share: float) -> list[int]:
    """Return all indices, with those of empty masks repeated until they have this share.

    Repetitions count on from the number of frames; see `PolypDataset.epoch_frames`.
    """
    empty = [i for i, (_, mask) in enumerate(samples) if not mask.any()]
    if share and not empty:
        raise UserError(
            f"empty_share {share}: none of {len(samples)} training frames is without a polyp"
        )
    polyps = len(samples) - len(empty)
    wanted = math.ceil(share / (1 - share) * polyps)
    repeated = []
    for number in range(wanted - len(empty)):
        repetition, position = divmod(number, len(empty))
        repeated.append(empty[position] + (repetition + 1) * len(samples))
    return [*range(len(samples)), *repeated]


def _disable_opencv_threads(_: int) -> None:
    cv2.setNumThreads(0)  # the training process needs the cores
