"""TensorRT-RTX engines, built ahead of time for a named architecture, without a GPU or a driver.

Such an engine is for the TensorRT-RTX runtime of a laptop; Triton's tensorrt backend takes plans of
TensorRT itself. Source: NVIDIA's Python bindings of TensorRT-RTX 1.7 (`tensorrt_rtx_bindings`).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from xpnet.card import Card
from xpnet.errors import UserError, require
from xpnet.files import check_writable, write_bytes, write_text
from xpnet.inference import OnnxInference

ARCHITECTURES = {
    75: "Turing: RTX 20 laptops",
    80: "Ampere: A100",
    86: "Ampere: RTX 30 laptops",
    89: "Ada: RTX 40 laptops",
    120: "Blackwell: RTX 50 laptops",
}
MAX_BATCH = 8
"""Of the optimisation profile, as in the model repository."""
HINT = "scripts/setup.sh --engines"


def build_ahead_of_time(onnx: Path, output: Path, sm: int) -> dict[str, Any]:
    """Builds an engine for compute capability `sm` (86 for 8.6) from an exported ONNX file.

    The graph's own types are kept: FP32, FP16 and INT8 are what the file says. Writes `output` and
    a summary, `output`.json: sizes, layers by type and by the type of what they compute.
    Returns the summary.

    Raises:
        UserError: an unknown architecture, TensorRT-RTX is missing, the file is no ONNX of
            `xpnet export` or its tensors are not those of its card, or `output` cannot be written.
    """
    if sm not in ARCHITECTURES:
        known = ", ".join(f"{number} ({what})" for number, what in ARCHITECTURES.items())
        raise UserError(f"--sm {sm}: expected one of {known}")
    check_writable(output)
    trt = _bindings()
    runs_here = OnnxInference(onnx)  # refuses what is no model of ours, as every command does
    runs_here.close()
    card = runs_here.card
    logger = _logger(trt)
    builder = trt.Builder(logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(onnx.read_bytes()):
        first = parser.get_error(0).desc() if parser.num_errors else logger.last
        raise UserError(f"{onnx}: TensorRT-RTX cannot parse it: {first}")
    _check_tensors(onnx, network, card)
    config = builder.create_builder_config()
    config.num_compute_capabilities = 1
    config.set_compute_capability(getattr(trt.ComputeCapability, f"SM{sm}"), 0)
    profile = builder.create_optimization_profile()
    one = tuple(card.input.shape[1:])
    profile.set_shape(card.input.name, (1, *one), (1, *one), (MAX_BATCH, *one))
    config.add_optimization_profile(profile)
    engine = builder.build_serialized_network(network, config)
    if engine is None:
        raise UserError(f"{onnx}: TensorRT-RTX built no engine for SM{sm}: {logger.last}")
    summary = {
        "tensorrt_rtx": trt.__version__,
        "architecture": f"SM{sm}",
        "onnx": onnx.name,
        "precision": card.training.get("graph", {}).get("precision", "fp32"),
        "engine_bytes": engine.nbytes,
        "batch": [1, MAX_BATCH],
        **_layers(network),
        "card": json.loads(card.to_json()),
    }
    write_bytes(output, bytes(engine))
    write_text(output.with_name(f"{output.name}.json"), json.dumps(summary, indent=2) + "\n")
    return summary


def _bindings() -> Any:
    try:
        import tensorrt_rtx_bindings
    except ImportError as error:
        raise require("TensorRT-RTX", "building its engines", HINT) from error
    return tensorrt_rtx_bindings


def _logger(trt: Any) -> Any:
    """Keeps the last error for the one line that is shown; TensorRT would print them all."""

    class Logger(trt.ILogger):  # type: ignore[misc]
        last = "no reason was given"

        def log(self, severity: Any, message: str) -> None:
            if severity in (trt.ILogger.ERROR, trt.ILogger.INTERNAL_ERROR):
                self.last = message

    return Logger()


def _check_tensors(onnx: Path, network: Any, card: Card) -> None:
    """Names, sizes and the dynamic batch; of an output TensorRT may leave the sizes open (-1)."""
    for side, get, count, spec in (
        ("input", network.get_input, network.num_inputs, card.input),
        ("output", network.get_output, network.num_outputs, card.output),
    ):
        found = [(t.name, tuple(t.shape)) for t in _all(get, count)]
        wanted = [(spec.name, tuple(spec.shape))]
        sizes = [
            f == w or (f == -1 and side == "output")
            for _, shape in found
            for f, w in zip(shape, spec.shape, strict=False)
        ]
        if [name for name, _ in found] != [spec.name] or not all(sizes) or len(sizes) != 4:
            raise UserError(f"{onnx}: its {side} is {found}, its card says {wanted}")


def _layers(network: Any) -> dict[str, dict[str, int]]:
    """Layers by type, and those that multiply by the type that they multiply in."""
    kinds: Counter[str] = Counter()
    multiply: Counter[str] = Counter()
    dequantised = set()
    layers = _all(network.get_layer, network.num_layers)
    for layer in layers:
        kind = layer.type.name
        kinds[kind] += 1
        if kind == "DEQUANTIZE":
            dequantised.add(layer.get_output(0).name)
    for layer in layers:
        if layer.type.name == "CONVOLUTION":
            read = layer.get_input(0)
            name = "INT8" if read.name in dequantised else read.dtype.name
            multiply[name] += 1
    return {"layers": dict(kinds.most_common()), "convolutions": dict(multiply)}


def _all(get: Callable[[int], Any], count: int) -> list[Any]:
    return [get(i) for i in range(count)]
