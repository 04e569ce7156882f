"""What runs a network on a CPU: ONNX Runtime, OpenVINO and torch.compile, behind one call."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from training.zoo import Network
from xpnet.errors import UserError, require

Run = Callable[[], Any]
"""Computes the probabilities of one fixed input; what it returns is not used."""
OPENVINO_TYPES = {"fp32": "f32", "bf16": "bf16"}


def onnxruntime_run(path: Path, tensor: NDArray[np.float32]) -> Run:
    """ONNX Runtime on the CPU, threads as it chooses, as the model repository serves it."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    feed = {session.get_inputs()[0].name: tensor}
    return lambda: session.run(None, feed)


def openvino_run(path: Path, tensor: NDArray[np.float32], precision: str) -> Run:
    """OpenVINO, tuned for latency; `precision` is fp32, bf16, or int8, which the graph itself says.

    Raises:
        UserError: OpenVINO is not installed.
    """
    try:
        import openvino
    except ImportError as error:
        raise require("openvino", "timing it", "scripts/setup.sh --engines") from error
    core = openvino.Core()
    settings = {
        "PERFORMANCE_HINT": "LATENCY",
        # Without the hint OpenVINO takes bfloat16 by itself where the CPU has it.
        "INFERENCE_PRECISION_HINT": OPENVINO_TYPES.get(precision, "f32"),
    }
    model = core.read_model(str(path))
    model.reshape(list(tensor.shape))
    compiled = core.compile_model(model, "CPU", settings)
    request = compiled.create_infer_request()
    return lambda: request.infer([tensor])


def torch_run(network: Network, tensor: NDArray[np.float32], precision: str) -> Run:
    """torch.compile, channels last; `precision` is fp32 or bf16.

    Raises:
        UserError: torch.compile cannot work here: it needs a C++ compiler.
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
    except Exception as error:  # torch.compile has no one class for what its compilers raise
        reason = str(error).strip().splitlines()
        raise UserError(
            f"torch.compile: {reason[0] if reason else type(error).__name__}"
        ) from error
    return run
