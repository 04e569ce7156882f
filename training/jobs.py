"""Start of a training: devices, data, network and method from the settings."""

from __future__ import annotations

import logging
from pathlib import Path

import torch
from lightning_fabric import Fabric
from lightning_fabric.utilities.exceptions import MisconfigurationException

from training.data.dataset import PolypDataset, steps_per_epoch
from training.data.dataset_check import UsableSample, usable_samples
from training.data.readers import DataSet, read_data_set
from training.methods.base import TrainingMethod
from training.methods.distillation import Distillation
from training.methods.pix2pix import Pix2Pix
from training.methods.supervised import Supervised
from training.models.merged_filters import merge_filters
from training.models.weight_files import load_weights
from training.models.zoo import Network, create_network
from training.settings import DistillSettings, Pix2PixSettings, TrainSettings
from training.trainer import Trainer
from xpnet.card import read_card
from xpnet.errors import UserError
from xpnet.files import check_writable, make_folder
from xpnet.host.cpu import cpu_flags

log = logging.getLogger("xpnet.training")

MIN_FRAMES = 2
"""Fewest frames of a step; an incomplete last batch of an epoch is left out."""


def train(settings: TrainSettings) -> Path:
    """Train a network, from its checkpoint if there is one, and return the path of its weights.

    Raises:
        UserError: As `prepare`; the checkpoint belongs to another run, a loss is not finite, or
            the disk is full.
    """
    return prepare(settings).run()


def prepare(settings: TrainSettings) -> Trainer:
    """Return a training that is ready to run.

    Raises:
        UserError: A device is not available, the data set cannot be used, or the output folder
            cannot be written.
    """
    fabric = make_fabric(settings)
    fabric.launch()
    folder = Path(settings.output)
    make_folder(folder)
    check_writable(folder / "checkpoint.pt")
    train_set, val_set = load_datasets(settings)
    torch.manual_seed(settings.seed)
    network = create_network(settings.network, settings.imagenet)
    is_gpu = fabric.device.type == "cuda"
    merge_filters(network, settings.filters == "merged" or (settings.filters == "auto" and is_gpu))
    torch.backends.cudnn.benchmark = is_gpu  # all steps have the same shapes
    provenance = {}
    if settings.init:
        load_weights(network, Path(settings.init))
        provenance = {"before": read_card(Path(settings.init).with_suffix(".json")).training}
    if len(train_set.epoch_frames) < MIN_FRAMES * fabric.world_size:
        raise UserError(
            f"{settings.data}: {len(train_set)} training frames, expected at least {MIN_FRAMES} "
            f"for each process ({fabric.world_size}): batch norm compares the frames of a step"
        )
    steps = steps_per_epoch(len(train_set.epoch_frames), settings.batch, fabric.world_size)
    method = make_method(fabric, settings, network, steps)
    method.provenance |= provenance
    return Trainer(fabric, settings, method, train_set, val_set)


def make_method(
    fabric: Fabric, settings: TrainSettings, network: Network, steps: int
) -> TrainingMethod:
    """Build the training method for the type of the settings.

    Args:
        fabric: Devices and precision.
        settings: Settings of the training.
        network: Network to train.
        steps: Steps per epoch.
    """
    if isinstance(settings, DistillSettings):
        return Distillation(fabric, settings, network, steps)
    if isinstance(settings, Pix2PixSettings):
        return Pix2Pix(fabric, settings, network, steps)
    return Supervised(fabric, settings, network, steps)


def make_fabric(settings: TrainSettings) -> Fabric:
    """Build Fabric for the devices and the precision of the settings.

    Raises:
        UserError: A device is not available.
    """
    is_distributed = settings.devices != 1 or settings.nodes != 1
    try:
        return Fabric(
            accelerator=settings.accelerator,
            devices=settings.devices or "auto",
            num_nodes=settings.nodes,
            # Steps without the discriminator do not use the adapters of a student.
            strategy="ddp_find_unused_parameters_true" if is_distributed else "auto",
            precision=choose_precision(settings),  # type: ignore[arg-type]
        )
    except (RuntimeError, ValueError, MisconfigurationException) as error:
        raise UserError(
            f"accelerator {settings.accelerator}, {settings.devices} devices: {error}"
        ) from error


def choose_precision(settings: TrainSettings) -> str:
    """Return Fabric's name of the precision; `auto` is bfloat16 if the device computes in it."""
    if settings.precision != "auto":
        return settings.precision
    if settings.accelerator != "cpu" and torch.cuda.is_available():
        return (
            "bf16-mixed" if torch.cuda.is_bf16_supported(including_emulation=False) else "16-mixed"
        )
    return "bf16-mixed" if "avx512_bf16" in cpu_flags() else "32-true"


def load_datasets(settings: TrainSettings) -> tuple[PolypDataset, PolypDataset]:
    """Check and read the frames of `train` (augmented) and `val`.

    Raises:
        UserError: The data set is missing, has bad pairs without `skip_bad`, or a split is empty.
    """
    data_set = read_data_set(Path(settings.data), settings.split)
    usable = _read_usable(data_set, ("train", "val"), settings)
    train_samples = [k for k in usable if k.sample.split == "train"]
    val_samples = [k for k in usable if k.sample.split == "val"]
    more = []
    if settings.more_data:
        more = _read_usable(
            read_data_set(Path(settings.more_data), settings.split), ("train",), settings
        )
    train_set = PolypDataset(
        [k.sample.pair for k in (*train_samples, *more)],
        settings.size,
        settings.seed,
        settings.augmentation,
        settings.empty_share,
        settings.negative_crops,
        [k.scaled for k in (*train_samples, *more)],
        len(more),
    )
    val_set = PolypDataset(
        [k.sample.pair for k in val_samples],
        settings.size,
        settings.seed,
        "none",
        samples=[k.scaled for k in val_samples],
    )
    return train_set, val_set


def _read_usable(
    data_set: DataSet, splits: tuple[str, ...], settings: TrainSettings
) -> list[UsableSample]:
    """Read the frames of these splits that can be used; warn of those that are left out.

    Raises:
        UserError: A split is empty, or has bad pairs without `skip_bad`.
    """
    samples = [sample for split in splits for sample in data_set.in_split(split)]
    kept = usable_samples(data_set, samples, settings.skip_bad, settings.size)
    if len(kept) < len(samples):
        log.warning("%s: skipped %d bad pairs", data_set.root, len(samples) - len(kept))
    for split in splits:
        if not any(k.sample.split == split for k in kept):
            raise UserError(f"{data_set.root}: no usable frame of split '{split}'")
    return kept
