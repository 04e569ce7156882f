"""Distillation: a student trained on the ground truth and, through a discriminator, on teachers.

Source: XP-Net, equations 2 and 3. The student minimises DV to the ground truth plus lambda times an
adversarial loss. That loss is small when the hierarchical discriminator, which reads frame, map and
features, takes the student's output for a teacher's. In addition, or instead, the student minimises
the cross-entropy to the teacher's map; this also works with teachers that have other features.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from training.methods.losses import LOSSES, discriminator_loss, generator_loss, output_loss
from training.methods.optimization import OptimizedNetwork
from training.methods.teachers import load_teachers, select_real_teacher
from training.models.discriminators import HierarchicalDiscriminator, TapAdapter, Taps
from training.models.networks import TAP_CHANNELS
from training.models.zoo import Network
from training.settings import DistillSettings


class StudentWithAdapter(nn.Module):
    """The student, and a TapAdapter if its features differ from those of the paper's networks.

    Args:
        network: The student.
    """

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network
        has_paper_taps = network.tap_channels == TAP_CHANNELS
        self.adapter = None if has_paper_taps else TapAdapter(network.tap_channels)

    def forward(self, frames: Tensor) -> tuple[Tensor, Taps]:
        """Return the logits and the taps with the paper's channels and sizes."""
        logits, taps = self.network.logits_and_taps(frames)
        if self.adapter is not None:
            height, width = frames.shape[-2:]
            taps = self.adapter(taps, height, width)
        return logits, taps


class Distillation:
    """A TrainingMethod (training.trainer) with ground truth, teachers and a discriminator.

    Args:
        fabric: Devices and precision.
        settings: Settings of the training.
        network: The student.
        steps: Steps per epoch.
    """

    def __init__(
        self, fabric: Fabric, settings: DistillSettings, network: Network, steps: int
    ) -> None:
        self.fabric, self.settings, self.network = fabric, settings, network
        # Teachers alternate by adversarial step. If they alternated by step, an even
        # `adversarial_every` would give the discriminator the same teacher each time.
        self.adversarial_steps = math.ceil(steps * settings.epochs / settings.adversarial_every)
        self.teachers = load_teachers(settings.teachers, fabric)
        self.provenance: dict[str, Any] = {
            "teachers": [
                {"network": t.card.network, "sha256": t.sha256, **t.card.training}
                for t in self.teachers
            ]
        }
        self.student = OptimizedNetwork(
            fabric, settings, StudentWithAdapter(network), settings.learning_rate, steps
        )
        self.loss = LOSSES[settings.loss]
        self.discriminator = OptimizedNetwork(
            fabric,
            settings,
            HierarchicalDiscriminator(),
            settings.discriminator_learning_rate,
            math.ceil(steps / settings.adversarial_every),
        )

    def step(self, step: int, frames: Tensor, masks: Tensor) -> dict[str, Tensor]:
        """Train the student, and at adversarial steps the discriminator; see `TrainingMethod`."""
        s = self.settings
        teacher = self.teachers[
            select_real_teacher(
                s.order, len(self.teachers), step // s.adversarial_every, self.adversarial_steps,
                s.seed,
            )
        ]  # fmt: skip
        teacher_map, teacher_taps = teacher.predict(frames, self.fabric)
        logits, taps = self.student.module(frames)
        student_map = torch.sigmoid(logits)
        student_taps = None if teacher_taps is None else taps

        truth = self.loss(logits, masks)
        loss, parts = truth, {"truth": truth.detach()}
        if s.output_loss:
            output = output_loss(logits, teacher_map)
            loss = loss + s.output_loss * output
            parts["output"] = output.detach()
        is_adversarial = s.adversarial > 0 and step % s.adversarial_every == 0
        if is_adversarial:
            # The student's step needs no gradients of the discriminator's weights. The plain
            # network is used, because the wrapper of DDP expects such gradients.
            self.discriminator.plain.requires_grad_(False)
            with self.fabric.autocast():
                scores = self.discriminator.plain(frames, student_map, student_taps)
            adversarial = generator_loss(scores.float())
            loss = loss + s.adversarial * adversarial
            parts["adversarial"] = adversarial.detach()
        self.student.minimize(loss, "student's")

        if is_adversarial:
            self.discriminator.plain.requires_grad_(True)
            detached = None if student_taps is None else {k: v.detach() for k, v in taps.items()}
            fake = self.discriminator.module(frames, student_map.detach(), detached)
            real = self.discriminator.module(frames, teacher_map, teacher_taps)
            separation = discriminator_loss(real, fake)
            self.discriminator.minimize(separation, "discriminator")
            parts["discriminator"] = separation.detach()
        return {"loss": loss.detach(), **parts}

    def state_dict(self) -> dict[str, Any]:
        """Return the state; see `TrainingMethod`."""
        return {
            "student": self.student.state_dict(),
            "discriminator": self.discriminator.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the state; see `TrainingMethod`."""
        self.student.load_state_dict(state["student"])
        self.discriminator.load_state_dict(state["discriminator"])
