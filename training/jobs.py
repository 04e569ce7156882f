"""Starting a training: its settings, data, devices and lesson put together."""

from __future__ import annotations

import logging
from pathlib import Path

import torch
from lightning_fabric import Fabric
from lightning_fabric.utilities.exceptions import MisconfigurationException

from training.data.dataset import PolypDataset, steps_per_epoch
from training.data.dataset_check import sound
from training.data.readers import read_source
from training.methods.distillation import Distillation
from training.methods.pix2pix import Pix2Pix
from training.methods.supervised import Supervised
from training.models.weight_files import load_weights
from training.models.zoo import Network, fresh
from training.settings import DistillSettings, Pix2PixSettings, TrainSettings
from training.trainer import Lesson, Trainer
from xpnet.card import read_card
from xpnet.errors import UserError
from xpnet.files import check_writable
from xpnet.host.cpu import cpu_flags

log = logging.getLogger("xpnet.training")


def train(settings: TrainSettings) -> Path:
    """Trains what the settings say, from its checkpoint where there is one.

    Returns the path of the best weights. Raises UserError as training.trainer, training.data.dataset_check
    and training.data.readers do, and where a device is asked for that is not there.
    """
    fabric = make_fabric(settings)
    fabric.launch()
    folder = Path(settings.output)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{folder}: cannot be made: {error.strerror}") from error
    check_writable(folder / "checkpoint.pt")
    train_set, val_set = _datasets(settings)
    torch.manual_seed(settings.seed)
    network = fresh(settings.network)
    before = {}
    if settings.init:
        load_weights(network, Path(settings.init))
        before = {"before": read_card(Path(settings.init).with_suffix(".json")).training}
    if len(train_set) < fabric.world_size:
        raise UserError(
            f"{settings.data}: {len(train_set)} frames to train on, "
            f"expected at least one for each of {fabric.world_size} processes"
        )
    steps = steps_per_epoch(len(train_set), settings.batch, fabric.world_size)
    lesson = make_lesson(fabric, settings, network, steps)
    lesson.notes |= before
    return Trainer(fabric, settings, lesson, train_set, val_set).run()


def make_lesson(fabric: Fabric, settings: TrainSettings, network: Network, steps: int) -> Lesson:
    """The lesson that belongs to the kind of settings; `steps` of one epoch."""
    if isinstance(settings, DistillSettings):
        return Distillation(fabric, settings, network, steps)
    if isinstance(settings, Pix2PixSettings):
        return Pix2Pix(fabric, settings, network, steps)
    return Supervised(fabric, settings, network, steps)


def make_fabric(settings: TrainSettings) -> Fabric:
    """The devices and their arithmetic.

    Raises:
        UserError: the devices are not there.
    """
    many = settings.devices != 1 or settings.nodes != 1
    try:
        return Fabric(
            accelerator=settings.accelerator,
            devices=settings.devices or "auto",
            num_nodes=settings.nodes,
            # Steps without the discriminator leave the adapters of a student unused.
            strategy="ddp_find_unused_parameters_true" if many else "auto",
            precision=precision(settings),  # type: ignore[arg-type]
        )
    except (RuntimeError, ValueError, MisconfigurationException) as error:
        raise UserError(
            f"accelerator {settings.accelerator}, {settings.devices} devices: {error}"
        ) from error


def precision(settings: TrainSettings) -> str:
    """Fabric's name of the arithmetic; `auto` takes bfloat16 where the device multiplies in it."""
    if settings.precision != "auto":
        return settings.precision
    if settings.accelerator != "cpu" and torch.cuda.is_available():
        return (
            "bf16-mixed" if torch.cuda.is_bf16_supported(including_emulation=False) else "16-mixed"
        )
    return "bf16-mixed" if "avx512_bf16" in cpu_flags() else "32-true"


def _datasets(settings: TrainSettings) -> tuple[PolypDataset, PolypDataset]:
    source = read_source(Path(settings.data), settings.split)
    wanted = [*source.of("train"), *source.of("val")]
    kept = sound(source, wanted, settings.skip_bad)
    if len(kept) < len(wanted):
        log.warning("%s: %d pairs left out", source.root, len(wanted) - len(kept))

    def dataset(split: str, augmentation: str) -> PolypDataset:
        pairs = [s.pair for s in kept if s.split == split]
        if not pairs:
            raise UserError(f"{source.root}: no sound frame of split '{split}'")
        return PolypDataset(pairs, settings.size, settings.seed, augmentation)

    return dataset("train", settings.augmentation), dataset("val", "none")
