"""Teacher 2: the network as the generator of pix2pix (Isola et al., CVPR 2017).

A patch discriminator looks at frame and mask together and learns to tell true masks from those of
the network; the network learns to be taken for the truth, and stays near it by an L1 distance.
"""

from __future__ import annotations

from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor
from torch.nn import functional as F

from training.methods.losses import discriminator_loss, generator_loss
from training.methods.optimization import Learner
from training.models.discriminators import patch_discriminator
from training.models.zoo import Network
from training.settings import Pix2PixSettings


class Pix2Pix:
    """A lesson of training.trainer: the truth, and a discriminator of patches."""

    def __init__(
        self, fabric: Fabric, settings: Pix2PixSettings, network: Network, steps: int
    ) -> None:
        self.network = network
        self.notes: dict[str, Any] = {}
        self.l1 = settings.l1
        self.fabric = fabric
        self.learner = Learner(fabric, settings, network, settings.learning_rate, steps)
        self.learner.module.mark_forward_method("logits_and_taps")
        self.judge = Learner(
            fabric,
            settings,
            patch_discriminator(),
            settings.discriminator_learning_rate,
            steps,
        )

    def step(self, step: int, frames: Tensor, masks: Tensor) -> dict[str, Tensor]:
        """See `Lesson`."""
        with self.fabric.autocast():  # Fabric brings its own to `forward` alone
            logits, _ = self.learner.module.logits_and_taps(frames)
        drawn = torch.sigmoid(logits)
        # The judge's own gradients are not wanted here, so its plain module is asked.
        self.judge.plain.requires_grad_(False)
        with self.fabric.autocast():
            scores = self.judge.plain(torch.cat([frames, drawn], dim=1))[-1]
        adversarial = generator_loss(scores.float())
        distance = F.l1_loss(drawn, masks)
        loss = adversarial + self.l1 * distance
        self.learner.learn(loss, "generator")

        self.judge.plain.requires_grad_(True)
        real = self.judge.module(torch.cat([frames, masks], dim=1))[-1]
        fake = self.judge.module(torch.cat([frames, drawn.detach()], dim=1))[-1]
        judged = discriminator_loss(real, fake)
        self.judge.learn(judged, "discriminator")
        return {
            "loss": loss.detach(),
            "adversarial": adversarial.detach(),
            "l1": distance.detach(),
            "discriminator": judged.detach(),
        }

    def state_dict(self) -> dict[str, Any]:
        """See `Lesson`."""
        return {"learner": self.learner.state_dict(), "judge": self.judge.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """See `Lesson`."""
        self.learner.load_state_dict(state["learner"])
        self.judge.load_state_dict(state["judge"])
