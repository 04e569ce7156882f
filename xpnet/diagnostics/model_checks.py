"""Checks of inference: masks in process and through Triton, against the reference masks.

A check returns a CheckResult. It raises CheckSkipped if it cannot run on this machine, and
UserError if a program that it runs fails.
"""

from __future__ import annotations

import time
from contextlib import closing
from statistics import median

from xpnet.bench.server_bench import served_runtime
from xpnet.card import read_card
from xpnet.diagnostics.check_context import CheckContext, CheckResult
from xpnet.diagnostics.reference_masks import REFERENCE_FRAMES, masks_dice, predict_masks
from xpnet.frames import Frame, Mask, frame_to_tensor
from xpnet.paths import card_path, onnx_path, plan_path
from xpnet.serving.model_config import FRAME_MODEL
from xpnet.serving.onnx_inference import OnnxInference
from xpnet.serving.triton_client import TritonInference
from xpnet.tensorrt.agreement import MIN_MASK_DICE

MIN_DICE_FP32 = 0.99
"""Smallest accepted Dice of ONNX Runtime with the reference masks: CPUs round differently."""
MIN_DICE_BF16 = 0.95
"""Smallest accepted Dice in bfloat16, which has an eighth of FP16's precision: where the network
is unsure of an edge, the edge moves."""
TIMED_FRAMES = 30


def check_reference_masks(context: CheckContext) -> CheckResult:
    """Compare the masks of ONNX Runtime with the reference masks, for every ONNX model."""
    return _check_in_process(context, "onnxruntime", MIN_DICE_FP32)


def check_served_masks(context: CheckContext) -> CheckResult:
    """Compare the masks of the runtime that serves on this machine with the reference masks."""
    return _check_in_process(context, served_runtime(), served_min_dice())


def check_triton_masks(context: CheckContext) -> CheckResult:
    """Compare the masks of every served model, over gRPC, with the reference masks."""
    server, frames = context.server(), context.reference_frames()
    actual, expected = {}, {}
    for model in server.models:
        reference = context.reference_masks(model)
        folder = context.repository / model
        if model == FRAME_MODEL:
            masks = {n: _request_frame_mask(server.grpc_url, f) for n, f in frames.items()}
        else:
            card = read_card(card_path(folder))
            with closing(TritonInference(server.grpc_url, model, card)) as inference:
                masks = predict_masks(inference, frames)
        actual[model] = masks_dice(masks, reference.masks)
        expected[model] = MIN_MASK_DICE if plan_path(folder).is_file() else served_min_dice()
    return _compare(actual, expected)


def served_min_dice() -> float:
    """Return the smallest accepted Dice of the runtime that serves ONNX models here."""
    return MIN_DICE_BF16 if served_runtime() == "openvino" else MIN_DICE_FP32


def _check_in_process(context: CheckContext, runtime: str, min_dice: float) -> CheckResult:
    frames, actual = context.reference_frames(), {}
    for model in context.onnx_models():
        reference = context.reference_masks(model)
        with closing(OnnxInference(onnx_path(context.repository / model), runtime)) as inference:
            masks = predict_masks(inference, frames)
            actual[f"{model} by {runtime}"] = masks_dice(masks, reference.masks)
            latency_ms = _median_latency_ms(inference, frames[REFERENCE_FRAMES[0]])
        how = f"{runtime} in process, one frame after another, median of {TIMED_FRAMES}"
        context.add_measured(f"{model}, {runtime}", latency_ms, "ms a frame", how)
    return _compare(actual, dict.fromkeys(actual, min_dice))


def _compare(actual: dict[str, float], expected: dict[str, float]) -> CheckResult:
    if not actual:
        return False, "no model was compared, expected one or more"
    parts = [f"{name} {dice:.4f} (expected {expected[name]})" for name, dice in actual.items()]
    passed = all(dice >= expected[name] for name, dice in actual.items())
    return passed, f"Dice {', '.join(parts)}"


def _median_latency_ms(inference: OnnxInference, frame: Frame) -> float:
    card = inference.card
    tensor = frame_to_tensor(frame, card.input.height, card.input.width)
    times_s = []
    for _ in range(TIMED_FRAMES):
        start = time.perf_counter()
        inference.submit(tensor).result()
        times_s.append(time.perf_counter() - start)
    return median(times_s) * 1000


def _request_frame_mask(url: str, frame: Frame) -> Mask:
    """Send a whole frame to FRAME_MODEL and return its mask."""
    from tritonclient import grpc

    request = grpc.InferInput("frame", list(frame.shape), "UINT8")
    request.set_data_from_numpy(frame)
    with closing(grpc.InferenceServerClient(url)) as client:
        mask: Mask = client.infer(FRAME_MODEL, [request]).as_numpy("mask") // 255
    return mask
