"""A network with its optimiser and learning-rate schedule, placed on Fabric's devices."""

from __future__ import annotations

import math
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from training.methods.base import DivergedError
from training.settings import TrainSettings

PAPER_STEP_EPOCHS = 30
"""Epochs between two steps of the paper's schedule (section 3.2)."""
PAPER_STEP_FACTOR = 0.1
"""Factor of the learning rate at each step of the paper's schedule."""


class OptimizedNetwork:
    """One network with its optimiser and schedule.

    On a GPU nothing in a step waits for the device: the optimiser skips a step whose gradient is
    not finite, and `check_finite` reports it later. Elsewhere `minimize` reports it at once.

    Args:
        fabric: Devices and precision.
        settings: Settings of the training.
        network: Network to train.
        learning_rate: Learning rate: the peak of one_cycle, or the start of step.
        steps: Optimiser steps per epoch.

    Attributes:
        plain: The network without Fabric's wrapper.
        module: The network in Fabric's wrapper, for the forward pass that needs gradients.
        is_asynchronous: Whether a step never waits for the device.
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
        self.name = ""
        self.plain = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.plain.to(fabric.device)
        self.max_gradient_norm = settings.gradient_norm
        self.is_asynchronous = fabric.device.type == "cuda" and not _has_scaler(fabric)
        rate: Any = learning_rate
        options: dict[str, Any] = {}
        if self.is_asynchronous:
            rate = torch.tensor(learning_rate, device=fabric.device)
            options = {"fused": True, "capturable": True}
        classes = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam}
        optimiser = classes[settings.optimiser](
            network.parameters(),
            rate,
            betas=(settings.beta1, 0.999),
            weight_decay=settings.weight_decay,
            **options,
        )
        self.module, self.optimiser = fabric.setup(self.plain, optimiser)
        self.module.train()
        self.schedule = _make_schedule(settings, optimiser, learning_rate, steps)
        self._torch_optimiser = optimiser
        self._failed_steps = torch.zeros((), device=fabric.device)

    def minimize(self, loss: Tensor, name: str, pause: Tensor | None = None) -> None:
        """Make one optimiser step on a loss.

        Args:
            loss: Scalar with gradients.
            name: Name of the loss, for error messages.
            pause: Scalar; the weights stay unchanged in this step unless it is 0.

        Raises:
            DivergedError: The loss or its gradient is not finite; the weights are unchanged.
        """
        self.name = name
        if not self.is_asynchronous:
            self._check_loss(loss.detach())
        self.optimiser.zero_grad()
        self.fabric.backward(loss)
        norm = self.fabric.clip_gradients(
            self.module, self.optimiser, max_norm=self.max_gradient_norm, error_if_nonfinite=False
        )
        if self.is_asynchronous:
            assert norm is not None
            self._step_if_finite(loss.detach() + norm, pause)
            return
        # The gradient scaler of 16-mixed skips a step that overflows and reduces its scale.
        if not _has_scaler(self.fabric):
            assert norm is not None
            _check_finite(norm, f"the gradient of the {name} loss")
        if pause is None or not bool(pause):
            self.optimiser.step()

    def advance(self) -> None:
        """Set the learning rate of the next step."""
        self.schedule.step()

    def check_finite(self) -> None:
        """Check the steps that have not been checked.

        Raises:
            DivergedError: A loss or gradient was not finite; those steps were skipped.
        """
        failed = int(self._failed_steps)
        if failed:
            raise DivergedError(
                f"the {self.name} loss or its gradient was not finite in {failed} steps, the last"
            )

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
        if self.is_asynchronous:
            for group in self._torch_optimiser.param_groups:
                group["lr"] = torch.as_tensor(group["lr"], device=self.fabric.device)

    def _check_loss(self, loss: Tensor) -> None:
        # All processes must raise the error: if one stopped, the others would wait for it.
        if self.fabric.world_size > 1:
            loss = self.fabric.all_reduce(loss.clone(), reduce_op="sum")  # type: ignore[assignment]
        _check_finite(loss, f"the {self.name} loss")

    def _step_if_finite(self, value: Tensor, pause: Tensor | None) -> None:
        """Step on the device, without effect if `value` is not finite or `pause` is not 0."""
        failed = torch.logical_not(torch.isfinite(value)).float()
        self._failed_steps += failed
        skip = failed if pause is None else torch.maximum(failed, pause.float())
        # torch.amp.GradScaler lets a fused optimiser skip a step through this attribute, too.
        self._torch_optimiser.found_inf = skip  # type: ignore[attr-defined]
        self.optimiser.step()


def _has_scaler(fabric: Fabric) -> bool:
    return getattr(fabric._precision, "scaler", None) is not None


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
