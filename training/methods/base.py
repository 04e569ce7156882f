"""What the training loop needs of a training method."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any, Protocol

from torch import Tensor

from training.models.zoo import Network


class DivergedError(Exception):
    """A loss or a gradient is not finite."""


class TrainingMethod(Protocol):
    """What a training does with one batch: its networks, optimisers and losses.

    A step has three parts, so that a GPU can replay the middle one (training.captured_steps).

    Attributes:
        network: The network whose weights are validated and saved.
        networks: All networks in training with their optimisers.
        provenance: Entries for the model card: initial weights, teachers.
    """

    network: Network
    provenance: dict[str, Any]

    @property
    def networks(self) -> Sequence[Any]:
        """All networks in training, each a training.methods.optimization.OptimizedNetwork."""

    def variant(self, step: int) -> Hashable:
        """Return what distinguishes a step's computation from that of other steps.

        Args:
            step: Number of the step in the run, from 0.
        """

    def compute(self, variant: Hashable, frames: Tensor, masks: Tensor) -> dict[str, Tensor]:
        """Train on one batch.

        Args:
            variant: The step's variant; steps of one variant make the same computation.
            frames: N x 3 x H x W in [0, 1].
            masks: N x 1 x H x W, 0 or 1.

        Returns:
            The losses by name, each a scalar; `loss` is that of `network`.

        Raises:
            DivergedError: A loss or gradient is not finite; the weights are unchanged.
        """

    def advance(self, variant: Hashable) -> None:
        """Set the learning rates of the next step."""

    def state_dict(self) -> dict[str, Any]:
        """Return the state of networks, optimisers and schedules."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
