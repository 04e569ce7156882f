"""A network with its optimiser and learning-rate schedule, placed on Fabric's devices."""

from __future__ import annotations

import math
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from training.settings import TrainSettings
from training.trainer import DivergedError

PAPER_STEP_EPOCHS = 30
"""Epochs between two steps of the paper's schedule (section 3.2)."""
PAPER_STEP_FACTOR = 0.1
"""Factor of the learning rate at each step of the paper's schedule."""


class OptimizedNetwork:
    """One network with its optimiser and schedule.

    Args:
        fabric: Devices and precision.
        settings: Settings of the training.
        network: Network to train.
        learning_rate: Learning rate: the peak of one_cycle, or the start of step.
        steps: Optimiser steps per epoch.

    Attributes:
        plain: The network without Fabric's wrapper.
        module: The network in Fabric's wrapper, for the forward pass that needs gradients.
    """

    def __init__(
        self,
        fabric: Fabric,
        settings: TrainSettings,
        network: nn.Module,
        learning_rate: float,
        steps: int,
    ) -> None:
        self.fabric = fabric
        self.plain = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.max_gradient_norm = settings.gradient_norm
        classes = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam}
        optimiser = classes[settings.optimiser](
            network.parameters(),
            learning_rate,
            betas=(settings.beta1, 0.999),
            weight_decay=settings.weight_decay,
        )
        self.module, self.optimiser = fabric.setup(self.plain, optimiser)
        self.module.train()
        self.schedule = _make_schedule(settings, optimiser, learning_rate, steps)

    def minimize(self, loss: Tensor, name: str) -> None:
        """Make one optimiser step on a loss.

        Args:
            loss: Scalar with gradients.
            name: Name of the loss, for error messages.

        Raises:
            DivergedError: The loss or its gradient is not finite; the weights are unchanged.
        """
        # All processes must raise the error: if one stopped, the others would wait for it.
        total = loss.detach()
        if self.fabric.world_size > 1:
            total = self.fabric.all_reduce(total.clone(), reduce_op="sum")  # type: ignore[assignment]
        _check_finite(total, f"the {name} loss")
        self.optimiser.zero_grad()
        self.fabric.backward(loss)
        norm = self.fabric.clip_gradients(
            self.module, self.optimiser, max_norm=self.max_gradient_norm, error_if_nonfinite=False
        )
        # The gradient scaler of 16-mixed skips a step that overflows and reduces its scale.
        if getattr(self.fabric._precision, "scaler", None) is None:
            assert norm is not None
            _check_finite(norm, f"the gradient of the {name} loss")
        self.optimiser.step()
        self.schedule.step()

    def state_dict(self) -> dict[str, Any]:
        """Return the state of network, optimiser and schedule."""
        return {
            "module": self.plain.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "schedule": self.schedule.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self.plain.load_state_dict(state["module"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.schedule.load_state_dict(state["schedule"])


def _make_schedule(
    settings: TrainSettings, optimiser: torch.optim.Optimizer, learning_rate: float, steps: int
) -> torch.optim.lr_scheduler.LRScheduler:
    if settings.schedule == "one_cycle":
        return torch.optim.lr_scheduler.OneCycleLR(
            optimiser, learning_rate, total_steps=steps * settings.epochs, cycle_momentum=False
        )
    return torch.optim.lr_scheduler.StepLR(optimiser, PAPER_STEP_EPOCHS * steps, PAPER_STEP_FACTOR)


def _check_finite(value: Tensor, name: str) -> None:
    number = float(value.detach())
    if not math.isfinite(number):
        raise DivergedError(f"{name} is {number}")
