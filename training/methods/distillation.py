"""Distillation: a student trained on the ground truth and, through a discriminator, on teachers.

Source: XP-Net, equations 2 and 3. The student minimises DV to the ground truth plus lambda times an
adversarial loss. That loss is small when the hierarchical discriminator, which reads frame, map and
features, takes the student's output for a teacher's. In addition, or instead, the student minimises
the cross-entropy to the teacher's map; this also works with teachers that have other features.

A discriminator that tells student from teacher without fail gives no useful gradient. R1, spectral
norm, normalised features, noise on its inputs and pauses keep it from winning; its accuracy is
logged. All are off by default, as in the paper.
"""

from __future__ import annotations

import math
from collections.abc import Hashable
from typing import Any, NamedTuple

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from training.methods.losses import (
    LOSSES,
    discriminator_accuracy,
    discriminator_loss,
    generator_loss,
    gradient_penalty,
    output_loss,
)
from training.methods.optimization import OptimizedNetwork
from training.methods.teachers import load_teachers, select_real_teacher
from training.models.discriminators import HierarchicalDiscriminator, TapAdapter, Taps
from training.models.networks import TAP_CHANNELS
from training.models.zoo import Network
from training.settings import DistillSettings

ACCURACY_WEIGHT = 0.1
"""Weight of a new value in the moving average of the discriminator's accuracy."""


class _Variant(NamedTuple):
    """The step's teacher, or None for the mean of all, and whether the discriminator is used."""

    teacher: int | None
    is_adversarial: bool


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
    """A TrainingMethod (training.methods.base) with ground truth, teachers and a discriminator.

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
            HierarchicalDiscriminator(settings.tap_norm, settings.spectral_norm),
            settings.discriminator_learning_rate,
            math.ceil(steps / settings.adversarial_every),
        )
        self._accuracy = torch.full((), 0.5, device=fabric.device)

    @property
    def networks(self) -> tuple[OptimizedNetwork, ...]:
        """All networks in training."""
        return self.student, self.discriminator

    def variant(self, step: int) -> Hashable:
        """Return the step's teacher, or None for all, and whether it uses the discriminator."""
        s = self.settings
        is_adversarial = s.adversarial > 0 and step % s.adversarial_every == 0
        if s.order == "mean":
            return _Variant(None, is_adversarial)
        number = select_real_teacher(
            s.order, len(self.teachers), step // s.adversarial_every, self.adversarial_steps, s.seed
        )
        return _Variant(number, is_adversarial)

    def advance(self, variant: Hashable) -> None:
        """Advance the schedules of the networks that took a step; see `TrainingMethod`."""
        assert isinstance(variant, _Variant)
        self.student.advance()
        if variant.is_adversarial:
            self.discriminator.advance()

    def compute(self, variant: Hashable, frames: Tensor, masks: Tensor) -> dict[str, Tensor]:
        """Train the student, and at adversarial steps the discriminator; see `TrainingMethod`."""
        s = self.settings
        assert isinstance(variant, _Variant)
        teacher_map, teacher_taps = self._predict_teachers(variant.teacher, frames)
        logits, taps = self.student.module(frames)
        student_map = torch.sigmoid(logits)
        student_taps = None if teacher_taps is None else taps

        truth = self.loss(logits, masks)
        loss, parts = truth, {"truth": truth.detach()}
        if s.output_loss:
            output = output_loss(logits, _without_false_positives(teacher_map, masks))
            loss = loss + s.output_loss * output
            parts["output"] = output.detach()
        if variant.is_adversarial:
            # The student's step needs no gradients of the discriminator's weights. The plain
            # network is used, because the wrapper of DDP expects such gradients.
            self.discriminator.plain.requires_grad_(False)
            with self.fabric.autocast():
                scores = self.discriminator.plain(
                    *self._add_noise(frames, student_map, student_taps)
                )
            adversarial = generator_loss(scores.float())
            loss = loss + s.adversarial * adversarial
            parts["adversarial"] = adversarial.detach()
        self.student.minimize(loss, "student's")

        if variant.is_adversarial:
            self.discriminator.plain.requires_grad_(True)
            parts |= self._train_discriminator(
                frames, (teacher_map, teacher_taps), (student_map.detach(), _detach(student_taps))
            )
        return {"loss": loss.detach(), **parts}

    def _predict_teachers(self, number: int | None, frames: Tensor) -> tuple[Tensor, Taps | None]:
        """Return the map and the features of one teacher, or the mean map of all."""
        if number is not None:
            return self.teachers[number].predict(frames, self.fabric)
        maps = [teacher.predict(frames, self.fabric)[0] for teacher in self.teachers]
        return torch.stack(maps).mean(0), None

    def _train_discriminator(
        self, frames: Tensor, real: tuple[Tensor, Taps | None], fake: tuple[Tensor, Taps | None]
    ) -> dict[str, Tensor]:
        """Train the discriminator on the outputs of a teacher and of the student."""
        s = self.settings
        real_inputs = self._add_noise(frames, *real)
        if s.r1:
            real_inputs = _require_gradients(*real_inputs)
        fake_scores = self.discriminator.module(*self._add_noise(frames, *fake)).float()
        # Fabric's wrapper forbids the gradient of a gradient that R1 needs.
        network = self.discriminator.plain if s.r1 else self.discriminator.module
        with self.fabric.autocast():
            real_scores = network(*real_inputs).float()
        separation = discriminator_loss(real_scores, fake_scores)
        accuracy = discriminator_accuracy(real_scores.detach(), fake_scores.detach())
        if self.fabric.world_size > 1:  # all processes must pause at the same steps
            accuracy = self.fabric.all_reduce(accuracy.clone(), reduce_op="mean")  # type: ignore[assignment]
        loss, parts = separation, {"discriminator": separation.detach()}
        if s.r1:
            _, its_map, its_taps = real_inputs
            penalty = gradient_penalty(real_scores, [its_map, *(its_taps or {}).values()])
            loss = loss + s.r1 / 2 * penalty
            parts["gradient_penalty"] = penalty.detach()
        self._accuracy.lerp_(accuracy, ACCURACY_WEIGHT)
        pause = self._accuracy > s.discriminator_pause if s.discriminator_pause < 1 else None
        self.discriminator.minimize(loss, "discriminator", pause)
        if pause is not None:
            parts["discriminator_paused"] = pause.float()
        return {**parts, "discriminator_accuracy": accuracy}

    def _add_noise(
        self, frames: Tensor, probabilities: Tensor, taps: Taps | None
    ) -> tuple[Tensor, Tensor, Taps | None]:
        """Return the discriminator's inputs with noise on the map and the features.

        The noise of a feature is relative to its standard deviation.
        """
        std = self.settings.discriminator_noise
        if not std:
            return frames, probabilities, taps
        probabilities = probabilities + std * torch.randn_like(probabilities)
        if taps is not None:
            taps = {
                name: tap + std * tap.detach().std() * torch.randn_like(tap)
                for name, tap in taps.items()
            }
        return frames, probabilities, taps

    def state_dict(self) -> dict[str, Any]:
        """Return the state; see `TrainingMethod`."""
        return {
            "student": self.student.state_dict(),
            "discriminator": self.discriminator.state_dict(),
            "accuracy": self._accuracy,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the state; see `TrainingMethod`."""
        self.student.load_state_dict(state["student"])
        self.discriminator.load_state_dict(state["discriminator"])
        self._accuracy.copy_(state["accuracy"])


def _without_false_positives(teacher_map: Tensor, masks: Tensor) -> Tensor:
    """Return the map with 0 for each frame without a polyp, so that no false positive is taught."""
    return teacher_map * (masks.amax((1, 2, 3), keepdim=True) > 0)


def _detach(taps: Taps | None) -> Taps | None:
    return None if taps is None else {name: tap.detach() for name, tap in taps.items()}


def _require_gradients(
    frames: Tensor, probabilities: Tensor, taps: Taps | None
) -> tuple[Tensor, Tensor, Taps | None]:
    """Return map and features as new tensors that require gradients."""
    if taps is not None:
        taps = {name: tap.detach().requires_grad_() for name, tap in taps.items()}
    return frames, probabilities.detach().requires_grad_(), taps
