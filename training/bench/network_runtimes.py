"""Runtimes of networks on a CPU behind one call: xpnet.serving.cpu_runtimes, and torch.compile."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from xpnet.card import Card
from xpnet.errors import UserError
from xpnet.serving.cpu_runtimes import RUNTIMES, open_model

ALL_RUNTIMES = (*RUNTIMES, "torch.compile")
Run = Callable[[], Any]
"""Computes the probabilities of one fixed input; the return value is not used."""


def onnx_run(
    path: Path, card: Card, tensor: NDArray[np.float32], runtime: str, precision: str | None
) -> Run:
    """Run an ONNX file as it is served; see xpnet.serving.cpu_runtimes.open_model.

    Args:
        path: The file.
        card: Its card.
        tensor: The input.
        runtime: Name of the runtime.
        precision: `fp32` or `bf16`.

    Raises:
        UserError: The runtime is not installed.
    """
    model = open_model(path, runtime, precision=precision)
    return lambda: model.run([card.output.name], {card.input.name: tensor})


def torch_run(network: nn.Module, tensor: NDArray[np.float32], precision: str) -> Run:
    """Run a network with torch.compile, channels last.

    Args:
        network: The network.
        tensor: The input.
        precision: `fp32` or `bf16`.

    Raises:
        UserError: torch.compile does not work on this machine: it needs a C++ compiler.
    """
    given = torch.from_numpy(tensor).to(memory_format=torch.channels_last)
    laid_out: Any = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    compiled = torch.compile(laid_out)
    half = precision == "bf16"

    def run() -> Any:
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=half):
            return compiled(given)

    try:
        run()
    except Exception as error:  # torch.compile's compilers raise various exceptions
        reason = str(error).strip().splitlines()
        raise UserError(
            f"torch.compile: {reason[0] if reason else type(error).__name__}"
        ) from error
    return run
