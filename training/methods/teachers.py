"""The teachers of a distillation: any number, and which of them is real at which step."""

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

from training.models.networks import TAP_CHANNELS
from training.models.weight_files import load_network
from training.models.zoo import Network
from xpnet.card import Card
from xpnet.errors import UserError


@dataclass(frozen=True)
class Teacher:
    """Whatever yields a probability map, and features where it has the student's."""

    network: Network
    card: Card
    sha256: str  # of the file

    @torch.no_grad()
    def teach(self, frames: Tensor, fabric: Fabric) -> tuple[Tensor, dict[str, Tensor] | None]:
        """Frames N x 3 x H x W to probabilities N x 1 x H x W, and the features named in TAPS.

        The features are None where they are not those of the paper's networks. Such a teacher
        is asked at the size of its card where the frames are smaller: a polyp that is smaller in
        pixels than any it was shown it does not know (docs/training.md has the figures).
        """
        alike = self.network.tap_channels == TAP_CHANNELS
        own = self.card.input.height, self.card.input.width
        seen = frames
        if not alike and frames.shape[-2] < own[0]:
            seen = resize(frames, own, mode="bilinear", align_corners=False)
        with fabric.autocast():
            logits, taps = self.network.logits_and_taps(seen)
        taught = torch.sigmoid(logits.float())
        if seen is not frames:
            taught = resize(taught, frames.shape[-2:], mode="bilinear", antialias=True)
        return taught, taps if alike else None


def load_teachers(paths: Sequence[str], fabric: Fabric) -> list[Teacher]:
    """Reads the weights of each teacher; they stay fixed.

    Raises:
        UserError: there is none, or a file is missing or not what its card says.
    """
    if not paths:
        raise UserError("no teacher was named: give --teacher WEIGHTS once for each, in order")
    teachers = []
    for path in paths:
        network, card = load_network(Path(path))
        network.requires_grad_(False)
        network.to(fabric.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        digest = hashlib.sha256(Path(path).read_bytes()).hexdigest()
        teachers.append(Teacher(network, card, digest))
    return teachers


def turn(order: str, teachers: int, step: int, total: int, seed: int) -> int:
    """The index of the teacher that is real at `step` of `total`, from its arguments alone.

    `orderly` (after Zhao et al., 2021): the first teacher alone for the first half, then all by
    turns; `alternate`: by turns from the start; `random`: drawn anew at each step.
    """
    if order == "random":
        return int(np.random.default_rng((seed, step)).integers(teachers))
    if order == "orderly" and step < total // 2:
        return 0
    return step % teachers
