"""Teacher 2: the network as the generator of pix2pix (Isola et al., CVPR 2017).

A patch discriminator reads frame and mask and learns to separate true masks from generated ones.
The network minimises the discriminator's error on its masks plus the L1 distance to the true mask.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor
from torch.nn import functional as F

from training.methods.losses import discriminator_loss, generator_loss
from training.methods.optimization import OptimizedNetwork
from training.models.discriminators import patch_discriminator
from training.models.zoo import Network
from training.settings import Pix2PixSettings


class Pix2Pix:
    """A TrainingMethod (training.methods.base) with the ground truth and a patch discriminator.

    Args:
        fabric: Devices and precision.
        settings: Settings of the training.
        network: Network to train, the generator.
        steps: Steps per epoch.
    """

    def __init__(
        self, fabric: Fabric, settings: Pix2PixSettings, network: Network, steps: int
    ) -> None:
        self.network = network
        self.provenance: dict[str, Any] = {}
        self.l1_weight = settings.l1
        self.fabric = fabric
        self.generator = OptimizedNetwork(fabric, settings, network, settings.learning_rate, steps)
        self.generator.module.mark_forward_method("logits_and_taps")
        self.discriminator = OptimizedNetwork(
            fabric,
            settings,
            patch_discriminator(),
            settings.discriminator_learning_rate,
            steps,
        )

    @property
    def networks(self) -> tuple[OptimizedNetwork, ...]:
        """All networks in training."""
        return self.generator, self.discriminator

    def variant(self, step: int) -> Hashable:
        """Return the only variant; see `TrainingMethod`."""
        return "pix2pix"

    def advance(self, variant: Hashable) -> None:
        """Advance both schedules; see `TrainingMethod`."""
        self.generator.advance()
        self.discriminator.advance()

    def compute(self, variant: Hashable, frames: Tensor, masks: Tensor) -> dict[str, Tensor]:
        """Train generator and discriminator on one batch; see `TrainingMethod`."""
        with self.fabric.autocast():  # Fabric applies autocast to `forward` only
            logits, _ = self.generator.module.logits_and_taps(frames)
        probabilities = torch.sigmoid(logits)
        # The generator's step needs no gradients of the discriminator's weights. The plain network
        # is used, because the wrapper of DDP expects such gradients.
        self.discriminator.plain.requires_grad_(False)
        with self.fabric.autocast():
            scores = self.discriminator.plain(torch.cat([frames, probabilities], dim=1))[-1]
        adversarial = generator_loss(scores.float())
        l1 = F.l1_loss(probabilities, masks)
        loss = adversarial + self.l1_weight * l1
        self.generator.minimize(loss, "generator")

        self.discriminator.plain.requires_grad_(True)
        real = self.discriminator.module(torch.cat([frames, masks], dim=1))[-1]
        fake = self.discriminator.module(torch.cat([frames, probabilities.detach()], dim=1))[-1]
        separation = discriminator_loss(real, fake)
        self.discriminator.minimize(separation, "discriminator")
        return {
            "loss": loss.detach(),
            "adversarial": adversarial.detach(),
            "l1": l1.detach(),
            "discriminator": separation.detach(),
        }

    def state_dict(self) -> dict[str, Any]:
        """Return the state; see `TrainingMethod`."""
        return {
            "generator": self.generator.state_dict(),
            "discriminator": self.discriminator.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the state; see `TrainingMethod`."""
        self.generator.load_state_dict(state["generator"])
        self.discriminator.load_state_dict(state["discriminator"])
