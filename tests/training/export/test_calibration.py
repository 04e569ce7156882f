"""Ranges for INT8: of the convolutions' inputs, without extremes."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from training.export.calibration import QUANTILE, activation_ranges


def _model() -> onnx.ModelProto:
    """frames -> conv -> doubled -> conv, whose input is also an output of the graph."""
    shape = ["batch", 1, 128, 128]
    one = helper.make_tensor("one", TensorProto.FLOAT, (1, 1, 1, 1), [1.0])
    minus_two = helper.make_tensor("minus_two", TensorProto.FLOAT, (1,), [-2.0])
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["frames", "one"], ["same"]),
            helper.make_node("Mul", ["same", "minus_two"], ["doubled"]),
            helper.make_node("Conv", ["doubled", "one"], ["out"]),
        ],
        "two",
        [helper.make_tensor_value_info("frames", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, shape) for n in ("out", "doubled")],
        [one, minus_two],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def test_outlier_does_not_stretch_the_range() -> None:
    plain = np.linspace(0, 1, 128 * 128, dtype=np.float32).reshape(1, 1, 128, 128)
    stretched = plain.copy()
    stretched[0, 0, 64, 64] = 1000
    model = _model()
    found = activation_ranges(model, [plain, stretched])
    assert found.keys() == {"frames", "doubled"}
    assert found["frames"] == pytest.approx((0, 1), abs=3e-4)
    assert found["doubled"] == pytest.approx((-2, 0), abs=6e-4)
    assert len(model.graph.output) == 2  # the model itself is unchanged
    assert 0.999 <= QUANTILE < 1


def test_calibration_weights_frames_equally() -> None:
    flat = [np.full((1, 1, 128, 128), value, np.float32) for value in (0.2, 0.4)]
    assert activation_ranges(_model(), flat)["frames"] == pytest.approx((0.3, 0.3))
