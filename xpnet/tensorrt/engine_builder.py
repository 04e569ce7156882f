"""Build a serialized engine from an exported ONNX file, with TensorRT or TensorRT-RTX.

Both libraries have the same Python API; the parameter `trt` is the module of either. Source:
NVIDIA's Python bindings of TensorRT 10 and 11, and of TensorRT-RTX 1.7 (`tensorrt_rtx_bindings`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xpnet.card import MAX_BATCH, Card
from xpnet.errors import UserError
from xpnet.serving.onnx_inference import OnnxInference

DRIVER_HINT = "check that this machine has an NVIDIA GPU and its driver"


@dataclass(frozen=True)
class SerializedEngine:
    """A serialized engine or plan.

    Attributes:
        content: The bytes of the engine file.
        card: The model card of the ONNX file.
        layers: `layers`, the number of layers by type, and `convolutions`, the number of
            convolutions by the data type they compute in.
    """

    content: bytes
    card: Card
    layers: dict[str, dict[str, int]]


def read_onnx_card(onnx: Path) -> Card:
    """Read the model card from the metadata of an exported ONNX file.

    Raises:
        UserError: The file is missing, truncated, not ONNX, or not from `xpnet export`.
    """
    inference = OnnxInference(onnx)  # makes the same checks, with the same messages, as serving
    inference.close()
    return inference.card


def build_engine(
    trt: Any,
    library: str,
    onnx: Path,
    configure: Callable[[Any, Any], None],
    max_batch: int = MAX_BATCH,
    strongly_typed: bool = True,
) -> SerializedEngine:
    """Build an engine for batches of 1 to `max_batch` frames, optimised for batch 1.

    Args:
        trt: The Python module of TensorRT or TensorRT-RTX.
        library: Name of that library, for error messages.
        onnx: ONNX file of `xpnet export`.
        configure: Function that sets further options; called with the builder and its config.
        max_batch: Largest batch of the optimisation profile.
        strongly_typed: Keep the data types of the ONNX file (FP32, FP16, INT8) for every tensor.

    Raises:
        UserError: The file is not from `xpnet export`, its tensors do not match its card, or the
            library cannot start, parse the file or build the engine.
    """
    card = read_onnx_card(onnx)
    logger = make_logger(trt)
    try:
        builder = trt.Builder(logger)
    except TypeError as error:  # the Python bindings raise it if the library returns no builder
        raise UserError(f"{library} cannot start: {logger.last_error}; {DRIVER_HINT}") from error
    # TensorRT 11 networks are always strongly typed; it accepts the flag and ignores it.
    flag = 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    network = builder.create_network(flag if strongly_typed else 0)
    parser = trt.OnnxParser(network, logger)
    if not parser.parse_from_file(str(onnx)):
        reason = parser.get_error(0).desc() if parser.num_errors else logger.last_error
        raise UserError(f"{onnx}: {library} cannot parse it: {reason}")
    _check_tensors(onnx, network, card)
    config = builder.create_builder_config()
    profile = builder.create_optimization_profile()
    sizes = tuple(card.input.shape[1:])
    profile.set_shape(card.input.name, (1, *sizes), (1, *sizes), (max_batch, *sizes))
    config.add_optimization_profile(profile)
    configure(builder, config)
    content = builder.build_serialized_network(network, config)
    if content is None:
        raise UserError(f"{onnx}: {library} cannot build it: {logger.last_error}")
    return SerializedEngine(bytes(content), card, _count_layers(network))


def make_logger(trt: Any) -> Any:
    """Create a logger for TensorRT that stores the last error and prints nothing.

    Args:
        trt: The Python module of TensorRT or TensorRT-RTX.

    Returns:
        An `ILogger` with the attribute `last_error`.
    """

    class Logger(trt.ILogger):  # type: ignore[misc]
        last_error = "no reason given"

        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, message: str) -> None:
            if severity in (trt.ILogger.ERROR, trt.ILogger.INTERNAL_ERROR):
                self.last_error = message

    return Logger()


def _check_tensors(onnx: Path, network: Any, card: Card) -> None:
    """Raise UserError unless the network has the one input and one output of its card.

    TensorRT may report unknown sizes (-1) for an output.
    """
    for side, get, count, spec in (
        ("input", network.get_input, network.num_inputs, card.input),
        ("output", network.get_output, network.num_outputs, card.output),
    ):
        tensors = [(t.name, tuple(t.shape)) for t in _items(get, count)]
        expected = [(spec.name, tuple(spec.shape))]
        sizes_match = [
            size == expected_size or (size == -1 and side == "output")
            for _, shape in tensors
            for size, expected_size in zip(shape, spec.shape, strict=False)
        ]
        names = [name for name, _ in tensors]
        if names != [spec.name] or not all(sizes_match) or len(sizes_match) != 4:
            raise UserError(f"{onnx}: {side} is {tensors}, expected {expected} as in its card")


def _count_layers(network: Any) -> dict[str, dict[str, int]]:
    """Count layers by type, and convolutions by data type; see `SerializedEngine.layers`."""
    types: Counter[str] = Counter()
    convolutions: Counter[str] = Counter()
    dequantized = set()
    layers = _items(network.get_layer, network.num_layers)
    for layer in layers:
        types[layer.type.name] += 1
        if layer.type.name == "DEQUANTIZE":
            dequantized.add(layer.get_output(0).name)
    for layer in layers:
        if layer.type.name == "CONVOLUTION":
            tensor = layer.get_input(0)
            # TensorRT fuses the dequantization into the convolution, which then runs in INT8.
            dtype = "INT8" if tensor.name in dequantized else tensor.dtype.name
            convolutions[dtype] += 1
    return {"layers": dict(types.most_common()), "convolutions": dict(convolutions)}


def _items(get: Callable[[int], Any], count: int) -> list[Any]:
    """Return the items of a TensorRT collection, which is read by index."""
    return [get(i) for i in range(count)]
