"""INT8 calibration: the range of each convolution's input, from real frames.

ONNX Runtime's own calibrations use the extremes of all frames, which a few values stretch, or keep
every value of every frame in memory (7 GB for the student at 192 pixels).
"""

from __future__ import annotations

import copy
from collections import defaultdict

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

QUANTILE = 0.9999
"""Quantile of a frame's values; values beyond it are clipped, and the others get finer steps."""


def activation_ranges(
    model: onnx.ModelProto, tensors: list[NDArray[np.float32]]
) -> dict[str, tuple[np.float32, np.float32]]:
    """Return the low and high end of each convolution's input, by the tensor's name.

    The QUANTILE at either end of each frame is averaged over the frames.

    Args:
        model: A float32 ONNX model.
        tensors: Real frames as its input, 1 x 3 x H x W each.
    """
    opened = copy.deepcopy(model)
    source = opened.graph.input[0].name
    read = dict.fromkeys(node.input[0] for node in opened.graph.node if node.op_type == "Conv")
    read.pop(source, None)
    known = {value.name for value in opened.graph.output}
    opened.graph.output.extend(
        onnx.helper.make_empty_tensor_value_info(name) for name in read if name not in known
    )
    session = onnxruntime.InferenceSession(
        opened.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    found: dict[str, list[tuple[np.float32, np.float32]]] = defaultdict(list)
    for tensor in tensors:
        values = dict(zip(read, session.run(list(read), {source: tensor}), strict=True))
        for name, array in {source: tensor, **values}.items():
            found[name].append(_ends(array))
    return {
        name: (np.float32(np.mean([e[0] for e in ends])), np.float32(np.mean([e[1] for e in ends])))
        for name, ends in found.items()
    }


def _ends(array: NDArray[np.float32]) -> tuple[np.float32, np.float32]:
    flat = array.ravel()
    beyond = int((1 - QUANTILE) * flat.size)
    low, high = beyond, flat.size - 1 - beyond
    # Partial sorting: there are millions of values.
    picked = np.partition(flat, (low, high))
    return picked[low], picked[high]
