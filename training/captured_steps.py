"""Steps of a training method; on a GPU they are captured once and replayed as CUDA graphs.

A step of a small network launches thousands of kernels that each take microseconds, and the host
cannot launch them as fast as a GPU computes them. A CUDA graph launches all of them at once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from training.methods.base import TrainingMethod

WARM_UP = 3
"""Steps of each variant without capture: cuDNN measures its algorithms, the optimiser allocates."""


class _Captured(NamedTuple):
    """A graph with the tensors that it reads and writes."""

    graph: Any
    frames: Tensor
    masks: Tensor
    losses: dict[str, Tensor]


class CapturedSteps:
    """Runs the steps of a training method.

    Args:
        method: The training method (training.methods.base.TrainingMethod).
        enabled: Whether to capture; the method must run on a GPU, and its steps must not wait
            for the device.
    """

    def __init__(self, method: TrainingMethod, enabled: bool) -> None:
        self.method = method
        self.stream = torch.cuda.Stream() if enabled else None
        self.pool = torch.cuda.graph_pool_handle() if enabled else None
        self.warmed_up: Counter[Hashable] = Counter()
        self.captured: dict[Hashable, _Captured] = {}

    def step(self, step: int, frames: Tensor, masks: Tensor) -> dict[str, Tensor]:
        """Train on one batch.

        Args:
            step: Number of the step in the run, from 0.
            frames: N x 3 x H x W in [0, 1]; N, H and W are the same in all steps.
            masks: N x 1 x H x W, 0 or 1.

        Returns:
            The losses by name. The next step overwrites them.

        Raises:
            DivergedError: A loss or gradient is not finite; the weights are unchanged.
        """
        variant = self.method.variant(step)
        losses = self._compute(variant, frames, masks)
        self.method.advance(variant)
        return losses

    def _compute(self, variant: Hashable, frames: Tensor, masks: Tensor) -> dict[str, Tensor]:
        if self.stream is None:
            return self.method.compute(variant, frames, masks)
        if variant not in self.captured:
            if self.warmed_up[variant] < WARM_UP:
                self.warmed_up[variant] += 1
                return self._compute_on_stream(variant, frames, masks)
            self.captured[variant] = self._capture(variant, frames, masks)
        graph, its_frames, its_masks, losses = self.captured[variant]
        its_frames.copy_(frames)
        its_masks.copy_(masks)
        graph.replay()
        return losses

    def _compute_on_stream(
        self, variant: Hashable, frames: Tensor, masks: Tensor
    ) -> dict[str, Tensor]:
        """Compute on the stream of the capture: gradients may not change streams in a capture."""
        assert self.stream is not None
        current = torch.cuda.current_stream()
        self.stream.wait_stream(current)
        with torch.cuda.stream(self.stream):
            losses = self.method.compute(variant, frames, masks)
        current.wait_stream(self.stream)
        return losses

    def _capture(self, variant: Hashable, frames: Tensor, masks: Tensor) -> _Captured:
        its_frames, its_masks = frames.clone(), masks.clone()
        graph = torch.cuda.CUDAGraph()
        torch.cuda.synchronize()
        with torch.cuda.graph(
            graph, pool=self.pool, stream=self.stream, capture_error_mode="thread_local"
        ):
            losses = self.method.compute(variant, its_frames, its_masks)
        return _Captured(graph, its_frames, its_masks, losses)
