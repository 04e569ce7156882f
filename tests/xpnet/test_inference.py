"""A network whose output is not finite: no frame may look like one without a polyp."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tests.conftest import ROOT
from training.models.torch_inference import TorchInference
from xpnet.frames import agreement
from xpnet.inference import Inference, InferenceError, check_probabilities
from xpnet.paths import MODEL_REPOSITORY
from xpnet.serving.onnx_inference import OnnxInference
from xpnet.tensorrt.engine_inference import EngineInference

ONNX = MODEL_REPOSITORY / "xpnet_lite_onnx" / "1" / "model.onnx"


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_one_value_that_is_not_finite_is_enough(value: float) -> None:
    probabilities = np.zeros((4, 4), np.float32)
    assert check_probabilities(probabilities) is probabilities
    probabilities[1, 2] = value
    with pytest.raises(InferenceError, match="the network's output is not finite"):
        check_probabilities(probabilities)


class Runner:
    """A TensorRT engine whose every output is NaN."""

    def infer(self, feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        (tensor,) = feeds.values()
        return {"probabilities": np.full((1, 1, *tensor.shape[2:]), np.nan, np.float32)}


def engine() -> EngineInference:
    inference = EngineInference.__new__(EngineInference)
    reference = OnnxInference(ONNX)
    inference.card, inference._pool = reference.card, reference._pool
    inference._runner = Runner()
    return inference


@pytest.mark.parametrize("kind", ["onnxruntime", "torch", "engine"])
def test_nan_is_an_error_of_every_runtime(kind: str) -> None:
    if kind == "torch":
        inference: Inference = TorchInference(ROOT / "training" / "weights" / "lite.safetensors")
    else:
        inference = engine() if kind == "engine" else OnnxInference(ONNX, kind)
    size = inference.card.input.height, inference.card.input.width
    with pytest.raises(InferenceError, match="not finite"):
        inference.submit(np.full((1, 3, *size), np.nan, np.float32)).result()


def test_nan_agrees_with_nothing() -> None:
    """Not even with an empty mask, which a comparison with NaN would give."""
    empty, broken = np.zeros((1, 4, 4), np.float32), np.full((1, 4, 4), np.nan, np.float32)
    assert agreement(empty, empty, 0.5) == 1
    assert math.isnan(agreement(broken, empty, 0.5))
    assert math.isnan(agreement(empty, broken, 0.5))
