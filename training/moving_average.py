"""Exponential moving average of a network's weights."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn


class MovingAverage:
    """Average of the weights and buffers of a network over its training steps.

    The decay rises to its final value, because the first weights are random. The number of updates
    is counted on the host, so that an update does not wait for the device.

    Args:
        network: Network in training.
        decay: Final decay of the average, for each step, in [0, 1).

    Attributes:
        module: A copy of the network with the averaged weights.
        updates: Number of updates so far.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.module = copy.deepcopy(network)
        self.module.requires_grad_(False)
        self.decay = decay
        self.updates = 0
        pairs = list(zip(_tensors(self.module), _tensors(network), strict=True))
        self._averaged = [ours for ours, _ in pairs if ours.is_floating_point()]
        self._current = [theirs for ours, theirs in pairs if ours.is_floating_point()]
        self._counters = [pair for pair in pairs if not pair[0].is_floating_point()]

    @torch.no_grad()
    def update(self) -> None:
        """Move the average towards the current weights; the first update copies them."""
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates)) if self.updates else 0.0
        torch._foreach_lerp_(self._averaged, self._current, 1 - decay)
        for ours, theirs in self._counters:
            ours.copy_(theirs)
        self.updates += 1

    def state_dict(self) -> dict[str, Any]:
        """Return the averaged weights and the number of updates."""
        return {"module": self.module.state_dict(), "updates": self.updates}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self.module.load_state_dict(state["module"])
        self.updates = state["updates"]


def _tensors(network: nn.Module) -> list[torch.Tensor]:
    return [*(p.data for p in network.parameters()), *network.buffers()]
