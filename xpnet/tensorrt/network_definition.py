"""An exported ONNX file as a network of TensorRT or of TensorRT-RTX, checked against its card.

Both libraries offer the same Python API; `trt` is the module of either. Source: NVIDIA's Python
bindings of TensorRT 10 and 11, and of TensorRT-RTX 1.7 (`tensorrt_rtx_bindings`).
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


@dataclass(frozen=True)
class Engine:
    """A built engine or plan: its bytes, the card of its ONNX file, and `layers` by their types."""

    content: bytes
    card: Card
    layers: dict[str, dict[str, int]]


def read_model(onnx: Path) -> Card:
    """The card of an exported ONNX file.

    Raises:
        UserError: no such file, no ONNX, cut off, or none of `xpnet export`.
    """
    runs_here = OnnxInference(onnx)  # refuses what is no model of ours, as every command does
    runs_here.close()
    return runs_here.card


def build(
    trt: Any,
    library: str,
    onnx: Path,
    configure: Callable[[Any, Any], None],
    most: int = MAX_BATCH,
    typed: bool = True,
) -> Engine:
    """Builds an engine that takes 1 to `most` frames and is fastest for one.

    `typed`: the graph's own types are kept: FP32, FP16 and INT8 are what the file says. `library`
    names the module `trt` in errors; `configure` is given the builder and its configuration.

    Raises:
        UserError: the file is none of `xpnet export`, its tensors are not those of its card, or
            the library cannot start, parse or build it.
    """
    card = read_model(onnx)
    logger = make_logger(trt)
    try:
        builder = trt.Builder(logger)
    except TypeError as error:  # the binding's answer where the library gives no builder
        raise UserError(f"{library} cannot start: {logger.last}; {DRIVER}") from error
    # TensorRT 11 knows no other typing and takes the flag without a word.
    flag = 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    network = builder.create_network(flag if typed else 0)
    parser = trt.OnnxParser(network, logger)
    if not parser.parse_from_file(str(onnx)):
        first = parser.get_error(0).desc() if parser.num_errors else logger.last
        raise UserError(f"{onnx}: {library} cannot parse it: {first}")
    _check_tensors(onnx, network, card)
    config = builder.create_builder_config()
    profile = builder.create_optimization_profile()
    one = tuple(card.input.shape[1:])
    profile.set_shape(card.input.name, (1, *one), (1, *one), (most, *one))
    config.add_optimization_profile(profile)
    configure(builder, config)
    content = builder.build_serialized_network(network, config)
    if content is None:
        raise UserError(f"{onnx}: {library} built nothing: {logger.last}")
    return Engine(bytes(content), card, _layers(network))


DRIVER = "is there an NVIDIA GPU with its driver?"


def make_logger(trt: Any) -> Any:
    """Keeps the last error for the one line that is shown; TensorRT would print them all."""

    class Logger(trt.ILogger):  # type: ignore[misc]
        last = "no reason was given"

        def __init__(self) -> None:
            trt.ILogger.__init__(self)

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
