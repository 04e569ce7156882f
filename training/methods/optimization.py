"""What the lessons share: a network with its optimiser and schedule on Fabric's devices."""

from __future__ import annotations

from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from training.settings import TrainSettings
from training.trainer import check_finite

PAPER_DECAY = (30, 0.1)
"""Epochs from one step of the paper's schedule to the next, and the factor (section 3.2)."""


class Learner:
    """One module that learns: set up on the devices, with its optimiser and schedule.

    `steps` are those of one epoch.
    """

    def __init__(
        self,
        fabric: Fabric,
        settings: TrainSettings,
        module: nn.Module,
        learning_rate: float,
        steps: int,
    ) -> None:
        self.fabric = fabric
        self.plain = module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.norm = settings.gradient_norm
        kinds = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam}
        optimiser = kinds[settings.optimiser](
            module.parameters(),
            learning_rate,
            betas=(settings.beta1, 0.999),
            weight_decay=settings.weight_decay,
        )
        self.module, self.optimiser = fabric.setup(self.plain, optimiser)
        self.module.train()
        self.schedule = _schedule(settings, optimiser, learning_rate, steps)

    def learn(self, loss: Tensor, what: str) -> None:
        """One step down the gradient of `loss`.

        Raises:
            Diverged: the loss or its gradient is no number; the weights stay as they were.
        """
        # All processes must agree: one that stopped alone would leave the others waiting.
        everywhere = loss.detach()
        if self.fabric.world_size > 1:
            everywhere = self.fabric.all_reduce(everywhere.clone(), reduce_op="sum")  # type: ignore[assignment]
        check_finite(everywhere, f"the {what} loss")
        self.optimiser.zero_grad()
        self.fabric.backward(loss)
        norm = self.fabric.clip_gradients(
            self.module, self.optimiser, max_norm=self.norm, error_if_nonfinite=False
        )
        # The scaler of 16-mixed leaves out a step that overflowed, and goes on with a smaller one.
        if getattr(self.fabric._precision, "scaler", None) is None:
            assert norm is not None
            check_finite(norm, f"the gradient of the {what} loss")
        self.optimiser.step()
        self.schedule.step()

    def state_dict(self) -> dict[str, Any]:
        """Weights, optimiser and schedule."""
        return {
            "module": self.plain.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "schedule": self.schedule.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The reverse."""
        self.plain.load_state_dict(state["module"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.schedule.load_state_dict(state["schedule"])


def _schedule(
    settings: TrainSettings, optimiser: torch.optim.Optimizer, peak: float, steps: int
) -> torch.optim.lr_scheduler.LRScheduler:
    if settings.schedule == "one_cycle":
        return torch.optim.lr_scheduler.OneCycleLR(
            optimiser, peak, total_steps=steps * settings.epochs, cycle_momentum=False
        )
    epochs, factor = PAPER_DECAY
    return torch.optim.lr_scheduler.StepLR(optimiser, epochs * steps, factor)
