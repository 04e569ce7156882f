"""Edits of a quantized ONNX graph: convolutions that reduce the agreement return to float."""

from __future__ import annotations

import copy

import onnx
from onnx import ModelProto, NodeProto


def convolutions(model: ModelProto) -> list[str]:
    """Return the names of the convolutions, in the order of the graph."""
    return [node.name for node in model.graph.node if node.op_type == "Conv"]


def without_quantization(
    model: ModelProto, floats: ModelProto, names: tuple[str, ...]
) -> ModelProto:
    """Return a copy of a quantized model in which some convolutions read floats.

    Nodes and constants without a reader stay in the copy, see `remove_unused`.

    Args:
        model: `floats` with QuantizeLinear and DequantizeLinear before inputs and weights.
        floats: The float model.
        names: Convolutions that read floats.

    Raises:
        KeyError: There is no such convolution.
    """
    changed = copy.deepcopy(model)
    made_by = {out: node for node in changed.graph.node for out in node.output}
    plain = {node.name: node for node in floats.graph.node}
    constants = {t.name: t for t in floats.graph.initializer}
    there = {t.name for t in changed.graph.initializer}
    by_name = {node.name: node for node in changed.graph.node if node.op_type == "Conv"}
    for name in names:
        conv = by_name[name]
        conv.input[0] = _before(conv.input[0], made_by)
        weight = plain[name].input[1]
        conv.input[1] = weight
        if weight not in there:
            changed.graph.initializer.append(constants[weight])
            there.add(weight)
    return changed


def remove_unused(model: ModelProto) -> ModelProto:
    """Remove nodes and constants without a reader, in place."""
    graph = model.graph
    while True:
        read = {name for node in graph.node for name in node.input}
        read |= {value.name for value in graph.output}
        unread = [node for node in graph.node if not any(out in read for out in node.output)]
        for node in unread:
            graph.node.remove(node)
        if not unread:
            break
    for tensor in [t for t in graph.initializer if t.name not in read]:
        graph.initializer.remove(tensor)
    onnx.checker.check_model(model)
    return model


def _before(value: str, made_by: dict[str, NodeProto]) -> str:
    """Return the value before a QuantizeLinear/DequantizeLinear pair, or `value` itself."""
    dequantise = made_by.get(value)
    if dequantise is None or dequantise.op_type != "DequantizeLinear":
        return value
    quantise = made_by.get(dequantise.input[0])
    if quantise is None or quantise.op_type != "QuantizeLinear":
        return value
    return str(quantise.input[0])
