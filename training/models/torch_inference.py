"""Inference with torch, to score and draw networks that are not exported."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from training.models.weight_files import load_network
from xpnet.frames import ProbabilityMap
from xpnet.inference import check_probabilities


class TorchInference:
    """Network of a safetensors file, on the GPU if there is one; see `Inference`.

    Args:
        weights: Path of the safetensors file, with its card beside it.

    Raises:
        UserError: Weights or card are missing or do not match.
    """

    def __init__(self, weights: Path) -> None:
        network, self.card = load_network(weights)
        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        self._network = network.to(self._device)
        self._pool = ThreadPoolExecutor(1, "torch")

    def submit(self, tensor: NDArray[np.float32]) -> Future[ProbabilityMap]:
        """Start inference of one frame; see `Inference`."""
        return self._pool.submit(self._run, tensor)

    def abandon(self, reason: str) -> None:
        """Do nothing: a call of torch always returns."""

    def close(self) -> None:
        """Stop the worker thread; see `Inference`."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _run(self, tensor: NDArray[np.float32]) -> ProbabilityMap:
        with torch.inference_mode():
            result = self._network(torch.from_numpy(tensor).to(self._device))
        return check_probabilities(np.asarray(result[0, 0].cpu().numpy(), dtype=np.float32))
