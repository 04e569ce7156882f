"""Triton's `onnxruntime` backend on a CPU, as a python-based backend.

It serves any model with `backend: "onnxruntime"` in its config.pbtxt from `<version>/model.onnx`,
with the parameter `intra_op_thread_count` of NVIDIA's C++ backend. Where that backend is installed,
it serves the same folder unchanged. Our own parameter `cpu_runtime` selects the runtime (see
xpnet.serving.cpu_runtimes); the C++ backend ignores it. Requests that Triton passes together run as
one batch.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils  # type: ignore[import-not-found]  # in the stub

from xpnet.serving.backend_tensors import to_numpy, to_tensor
from xpnet.serving.cpu_runtimes import RUNTIMES, open_model


class TritonPythonModel:
    """The object that the Python backend calls; Triton defines the names of its methods."""

    def initialize(self, args: dict[str, str]) -> None:
        """Load the model; Triton reports an exception as the reason that it is unavailable."""
        config = json.loads(args["model_config"])
        name = config.get("default_model_filename") or "model.onnx"
        path = Path(args["model_repository"]) / args["model_version"] / name
        self.batches = config.get("max_batch_size", 0) > 0
        # A model without a backend entry, or without a batch dimension, is not for this backend.
        runtime = _parameter(config, "cpu_runtime", RUNTIMES[0]) if self.batches else RUNTIMES[0]
        threads = int(_parameter(config, "intra_op_thread_count", "0"))
        self.model = open_model(path, runtime, threads)
        self.inputs = self.model.inputs
        self.outputs = [o["name"] for o in config["output"]]

    def execute(self, requests: list[Any]) -> list[Any]:
        """Return one response for each request, in order."""
        groups = [requests] if self.batches and _same_shapes(requests) else [[r] for r in requests]
        return [response for group in groups for response in self._run(group)]

    def _run(self, requests: list[Any]) -> list[Any]:
        try:
            arrays = [
                [to_numpy(pb_utils.get_input_tensor_by_name(r, n)) for n in self.inputs]
                for r in requests
            ]
            feeds = {
                name: rows[0] if len(rows) == 1 else np.concatenate(rows)
                for name, *rows in zip(self.inputs, *arrays, strict=True)
            }
            results = self.model.run(self.outputs, feeds)
        # The client gets the error as its response; the model stays loaded
        except Exception as error:
            failure = pb_utils.TritonError(f"inference on the CPU: {error}")
            return [pb_utils.InferenceResponse(error=failure) for _ in requests]
        ends = np.cumsum([row[0].shape[0] for row in arrays])
        responses = []
        for end, row in zip(ends, arrays, strict=True):
            part = slice(end - row[0].shape[0], end) if len(arrays) > 1 else slice(None)
            tensors = [
                to_tensor(pb_utils, name, result[part])
                for name, result in zip(self.outputs, results, strict=True)
            ]
            responses.append(pb_utils.InferenceResponse(output_tensors=tensors))
        return responses


def _same_shapes(requests: list[Any]) -> bool:
    """Return whether all requests agree in the shapes of their inputs, except the batch."""
    shapes = {tuple(tuple(t.shape())[1:] for t in r.inputs()) for r in requests}
    return len(shapes) == 1


def _parameter(config: dict[str, Any], name: str, otherwise: str) -> str:
    found = config.get("parameters", {}).get(name, {})
    return str(found.get("string_value", otherwise))
