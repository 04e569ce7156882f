"""Supervised training: one network and the truth. Teacher 1, teacher 3, the U-Net, a student alone.

The loss is DV, soft Dice plus Tversky, as in the paper (equation 1), or cross-entropy plus Dice.
"""

from __future__ import annotations

from typing import Any

from lightning_fabric import Fabric
from torch import Tensor

from training.methods.losses import LOSSES
from training.methods.optimization import Learner
from training.models.zoo import Network
from training.settings import TrainSettings


class Supervised:
    """A lesson of training.trainer: the truth alone."""

    def __init__(
        self, fabric: Fabric, settings: TrainSettings, network: Network, steps: int
    ) -> None:
        self.network = network
        self.notes: dict[str, Any] = {}
        self.learner = Learner(fabric, settings, network, settings.learning_rate, steps)
        self.learner.module.mark_forward_method("logits_and_taps")
        self.loss = LOSSES[settings.loss]

    def step(self, step: int, frames: Tensor, masks: Tensor) -> dict[str, Tensor]:
        """See `Lesson`."""
        with self.learner.fabric.autocast():  # Fabric brings its own to `forward` alone
            logits, _ = self.learner.module.logits_and_taps(frames)
        loss = self.loss(logits, masks)
        self.learner.learn(loss, "segmentation")
        return {"loss": loss.detach()}

    def state_dict(self) -> dict[str, Any]:
        """See `Lesson`."""
        return self.learner.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """See `Lesson`."""
        self.learner.load_state_dict(state)
