"""Supervised training: one network and the ground truth. Used for every job but the two below.

Teacher 2 uses training.methods.pix2pix; a student with teachers training.methods.distillation.
The loss is DV, soft Dice plus Tversky, as in the paper (equation 1), or cross-entropy plus Dice.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

from lightning_fabric import Fabric
from torch import Tensor

from training.methods.losses import LOSSES
from training.methods.optimization import OptimizedNetwork
from training.models.zoo import Network
from training.settings import TrainSettings


class Supervised:
    """A TrainingMethod (training.methods.base) whose loss compares with the ground truth only.

    Args:
        fabric: Devices and precision.
        settings: Settings of the training.
        network: Network to train.
        steps: Steps per epoch.
    """

    def __init__(
        self, fabric: Fabric, settings: TrainSettings, network: Network, steps: int
    ) -> None:
        self.fabric = fabric
        self.network = network
        self.provenance: dict[str, Any] = {}
        self.optimized = OptimizedNetwork(fabric, settings, network, settings.learning_rate, steps)
        self.optimized.module.mark_forward_method("logits_and_taps")
        self.loss = LOSSES[settings.loss]

    @property
    def networks(self) -> tuple[OptimizedNetwork, ...]:
        """All networks in training."""
        return (self.optimized,)

    def variant(self, step: int) -> Hashable:
        """Return the only variant; see `TrainingMethod`."""
        return "supervised"

    def advance(self, variant: Hashable) -> None:
        """Advance the schedule; see `TrainingMethod`."""
        self.optimized.advance()

    def compute(self, variant: Hashable, frames: Tensor, masks: Tensor) -> dict[str, Tensor]:
        """Train on one batch; see `TrainingMethod`."""
        with self.fabric.autocast():  # Fabric applies autocast to `forward` only
            logits, _ = self.optimized.module.logits_and_taps(frames)
        loss = self.loss(logits, masks)
        self.optimized.minimize(loss, "segmentation")
        return {"loss": loss.detach()}

    def state_dict(self) -> dict[str, Any]:
        """Return the state; see `TrainingMethod`."""
        return self.optimized.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the state; see `TrainingMethod`."""
        self.optimized.load_state_dict(state)
