"""Distillation: a student, taught by the truth and, through a discriminator, by teachers.

Source: XP-Net, equations 2 and 3. The student minimises DV to the truth plus lambda times the
distance of the hierarchical discriminator's scores from 'a teacher made this'; that one sees
frame, map and features. Beside it, or in its place, the student may follow the teacher's map by
cross-entropy, which is what a teacher without such features can give it.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from training.methods.losses import LOSSES, discriminator_loss, generator_loss, output_loss
from training.methods.optimization import Learner
from training.methods.teachers import load_teachers, turn
from training.models.discriminators import HierarchicalDiscriminator, TapAdapter, Taps
from training.models.networks import TAP_CHANNELS
from training.models.zoo import Network
from training.settings import DistillSettings


class Pupil(nn.Module):
    """The student with what its features need to be compared: nothing, or a TapAdapter."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network
        alike = network.tap_channels == TAP_CHANNELS
        self.adapter = None if alike else TapAdapter(network.tap_channels)

    def forward(self, frames: Tensor) -> tuple[Tensor, Taps]:
        """Frames to logits and to taps of the paper's channels and sizes."""
        logits, taps = self.network.logits_and_taps(frames)
        if self.adapter is not None:
            height, width = frames.shape[-2:]
            taps = self.adapter(taps, height, width)
        return logits, taps


class Distillation:
    """A lesson of training.trainer: the truth, the teachers and the discriminator."""

    def __init__(
        self, fabric: Fabric, settings: DistillSettings, network: Network, steps: int
    ) -> None:
        self.fabric, self.settings, self.network = fabric, settings, network
        # Turns go by judged steps: by all steps, an even `adversarial_every` would let the
        # discriminator meet the same teacher for ever.
        self.rounds = math.ceil(steps * settings.epochs / settings.adversarial_every)
        self.teachers = load_teachers(settings.teachers, fabric)
        self.notes: dict[str, Any] = {
            "teachers": [
                {"network": t.card.network, "sha256": t.sha256, **t.card.training}
                for t in self.teachers
            ]
        }
        self.learner = Learner(fabric, settings, Pupil(network), settings.learning_rate, steps)
        self.loss = LOSSES[settings.loss]
        self.judge = Learner(
            fabric,
            settings,
            HierarchicalDiscriminator(),
            settings.discriminator_learning_rate,
            math.ceil(steps / settings.adversarial_every),
        )

    def step(self, step: int, frames: Tensor, masks: Tensor) -> dict[str, Tensor]:
        """See `Lesson`."""
        s = self.settings
        round_ = step // s.adversarial_every
        teacher = self.teachers[turn(s.order, len(self.teachers), round_, self.rounds, s.seed)]
        taught, teacher_taps = teacher.teach(frames, self.fabric)
        logits, taps = self.learner.module(frames)
        drawn = torch.sigmoid(logits)
        student_taps = None if teacher_taps is None else taps

        truth = self.loss(logits, masks)
        loss, parts = truth, {"truth": truth.detach()}
        if s.output_loss:
            followed = output_loss(logits, taught)
            loss = loss + s.output_loss * followed
            parts["output"] = followed.detach()
        judging = s.adversarial > 0 and step % s.adversarial_every == 0
        if judging:
            # The judge's own gradients are not wanted here, so its plain module is asked.
            self.judge.plain.requires_grad_(False)
            with self.fabric.autocast():
                scores = self.judge.plain(frames, drawn, student_taps)
            adversarial = generator_loss(scores.float())
            loss = loss + s.adversarial * adversarial
            parts["adversarial"] = adversarial.detach()
        self.learner.learn(loss, "student's")

        if judging:
            self.judge.plain.requires_grad_(True)
            fixed = None if student_taps is None else {k: v.detach() for k, v in taps.items()}
            fake = self.judge.module(frames, drawn.detach(), fixed)
            real = self.judge.module(frames, taught, teacher_taps)
            judged = discriminator_loss(real, fake)
            self.judge.learn(judged, "discriminator")
            parts["discriminator"] = judged.detach()
        return {"loss": loss.detach(), **parts}

    def state_dict(self) -> dict[str, Any]:
        """See `Lesson`."""
        return {"learner": self.learner.state_dict(), "judge": self.judge.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """See `Lesson`."""
        self.learner.load_state_dict(state["learner"])
        self.judge.load_state_dict(state["judge"])
