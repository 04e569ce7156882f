"""Teachers of a distillation: loading, inference, and the choice of one for each step."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor
from torch.nn.functional import interpolate as resize

from training.models.merged_filters import merge_filters
from training.models.networks import TAP_CHANNELS
from training.models.weight_files import load_network
from training.models.zoo import Network
from xpnet.card import Card
from xpnet.errors import UserError


@dataclass(frozen=True)
class Teacher:
    """A trained network that gives a probability map, and features if it has the paper's taps.

    Attributes:
        network: Network in evaluation mode, without gradients.
        card: Its model card.
        sha256: Hash of its weight file.
    """

    network: Network
    card: Card
    sha256: str

    @torch.no_grad()
    def predict(self, frames: Tensor, fabric: Fabric) -> tuple[Tensor, dict[str, Tensor] | None]:
        """Return probabilities N x 1 x H x W and the features named in TAPS.

        A teacher with other features than the paper's networks returns None for them. Frames
        smaller than the size in its card are enlarged to that size for it, since it does not find
        polyps that are smaller in pixels than those of its training (docs/training.md).

        Args:
            frames: N x 3 x H x W in [0, 1].
            fabric: Devices and precision.
        """
        has_paper_taps = self.network.tap_channels == TAP_CHANNELS
        card_size = self.card.input.height, self.card.input.width
        inputs = frames
        if not has_paper_taps and frames.shape[-2] < card_size[0]:
            inputs = resize(frames, card_size, mode="bilinear", align_corners=False)
        with fabric.autocast():
            logits, taps = self.network.logits_and_taps(inputs)
        probabilities = torch.sigmoid(logits.float())
        if inputs is not frames:
            probabilities = resize(
                probabilities, frames.shape[-2:], mode="bilinear", antialias=True
            )
        return probabilities, taps if has_paper_taps else None


def load_teachers(paths: Sequence[str], fabric: Fabric) -> list[Teacher]:
    """Load the weights of each teacher onto the device; they are not trained.

    Args:
        paths: Safetensors files, each with its card.
        fabric: Devices and precision.

    Raises:
        UserError: There is no path, or a file is missing or does not match its card.
    """
    if not paths:
        raise UserError("no teacher given; give --teacher WEIGHTS for each teacher, in order")
    teachers = []
    for path in paths:
        network, card = load_network(Path(path))
        network.requires_grad_(False)
        merge_filters(network, fabric.device.type == "cuda")
        network.to(fabric.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        digest = hashlib.sha256(Path(path).read_bytes()).hexdigest()
        teachers.append(Teacher(network, card, digest))
    return teachers


def select_real_teacher(order: str, teachers: int, step: int, total: int, seed: int) -> int:
    """Return the index of the teacher that the discriminator takes as real at a step.

    Args:
        order: `orderly` (after Zhao et al., 2021): the first teacher for the first half of the
            steps, then all teachers alternately. `alternate`: all teachers alternately.
            `random`: a random teacher for each step.
        teachers: Number of teachers.
        step: Number of the step, from 0.
        total: Number of steps of the training.
        seed: Seed of `random`.
    """
    if order == "random":
        return int(np.random.default_rng((seed, step)).integers(teachers))
    if order == "orderly" and step < total // 2:
        return 0
    return step % teachers
