"""Checks that need an NVIDIA GPU: TensorRT plans, DeepStream, the tests marked gpu.

Written from NVIDIA's documents and not run on a GPU yet: docs/where-it-ran.md.
"""

from __future__ import annotations

import re
import subprocess
import sys
import time
from importlib import util
from pathlib import Path

from xpnet.card import Card, read_card
from xpnet.diagnostics.check_context import (
    COMMAND_TIMEOUT_S,
    CheckContext,
    CheckResult,
    CheckSkipped,
    last_line,
)
from xpnet.diagnostics.reference_masks import (
    MASKS_ALONE,
    frame_mask,
    masks_dice,
    read_changed_masks,
    read_drawn_masks,
)
from xpnet.errors import UserError
from xpnet.frames import frame_to_tensor
from xpnet.images import frame_count
from xpnet.paths import DEMO_CLIP, ROOT, plan_path
from xpnet.serving.model_config import DEFAULT_PLAN, parse_config
from xpnet.tensorrt.agreement import MIN_MASK_DICE
from xpnet.tensorrt.trtexec import Trtexec, find_trtexec

MIN_DICE_DEEPSTREAM = 0.9
"""Smallest accepted Dice of our graph on DeepStream: NVIDIA's elements scale frames differently."""
MIN_DICE_DEEPSTREAM_APP = 0.8
"""The same for deepstream-app, where the mask is found by the pixels that differ from the clip."""
MAX_CHANGED_SHARE = 0.6
"""If more of a picture differs from the clip, the element draws masks without the video."""


def check_plans(context: CheckContext) -> CheckResult:
    """Build the missing plans; `xpnet build` rejects a plan whose masks differ.

    An existing plan is not rebuilt: it may have another precision, or be for the DLA.
    """
    context.require_gpu()
    models, agreements = _plan_models(context), []
    if not models:
        return False, "no model is served as a TensorRT plan, expected one or more"
    for model in models:
        if not _plan(context, model).is_file():
            options = ("--target", context.target, "--model", model)
            context.run_xpnet("build", *options, *context.repository_option)
        graph = _plan_card(context, model).graph
        agreements.append(f"{model} {graph['precision']} {graph['plan']['agreement']:.4f}")
        how = f"{graph['gpu']}, TensorRT {graph['tensorrt']}, as measured by `xpnet build`"
        context.add_measured(f"{model}, plan", graph["median_ms"], "ms a frame", how)
    return True, f"Dice with ONNX Runtime: {', '.join(agreements)}"


def check_cuda_graphs(context: CheckContext) -> CheckResult:
    """Run every plan with trtexec and CUDA graphs: compare its masks and time a frame."""
    context.require_gpu()
    program = find_trtexec()
    if program is None:
        raise CheckSkipped("trtexec is not installed: JetPack and NVIDIA's containers contain it")
    built = [model for model in _plan_models(context) if _plan(context, model).is_file()]
    if not built:
        raise CheckSkipped("there is no plan: the check `plans` builds them")
    trtexec, frames, agreements = Trtexec(program), context.reference_frames(), {}
    for model in built:
        card = _plan_card(context, model)
        height, width, dla = card.input.height, card.input.width, card.graph["dla"]
        tensors = [frame_to_tensor(frame, height, width) for frame in frames.values()]
        probabilities, median_ms = trtexec.run(_plan(context, model), card, tensors, dla)
        masks = {
            number: frame_mask(frame, probabilities[i, 0], card)
            for i, (number, frame) in enumerate(frames.items())
        }
        agreements[model] = masks_dice(masks, context.reference_masks(model).masks)
        how = f"TensorRT {trtexec.version}, {trtexec.describe_timing(dla)}, median"
        context.add_measured(f"{model}, CUDA graph", median_ms, "ms a frame", how)
    listed = ", ".join(f"{model} {dice:.4f}" for model, dice in agreements.items())
    passed = min(agreements.values()) >= MIN_MASK_DICE
    return passed, f"Dice {listed}, expected {MIN_MASK_DICE}"


def check_deepstream_graph(context: CheckContext) -> CheckResult:
    """Run `xpnet run --platform deepstream` on the clip and read its masks from the video."""
    context.require_gpu()
    if util.find_spec("pyds") is None:
        raise CheckSkipped("pyds is not installed: scripts/install_pyds.sh installs it")
    summary = context.run_graph(
        "deepstream", DEMO_CLIP, "--platform", "deepstream", "--model", DEFAULT_PLAN,
        *context.repository_option, *MASKS_ALONE,
    )  # fmt: skip
    how = f"xpnet run --platform deepstream, {DEFAULT_PLAN}"
    context.add_measured("the graph on DeepStream", summary["fps"], "fps", how)
    masks = read_drawn_masks(context.work_dir / "deepstream.mp4")
    dice = masks_dice(masks, context.reference_masks(DEFAULT_PLAN).masks)
    complete = summary["frames"] == frame_count(DEMO_CLIP) and summary["frames_without_mask"] == 0
    return complete and dice >= MIN_DICE_DEEPSTREAM, (
        f"{summary['frames']} frames, {summary['frames_without_mask']} without a mask; Dice "
        f"{dice:.4f}, expected {MIN_DICE_DEEPSTREAM}"
    )


def check_deepstream_app(context: CheckContext) -> CheckResult:
    """Run NVIDIA's deepstream-app with the files of `xpnet deploy`, from the clip to a file."""
    program = context.require_program("deepstream-app", "NVIDIA DeepStream")
    context.require_gpu()
    video, config_dir = context.work_dir / "app.mp4", context.work_dir / "configs"
    config_dir.mkdir()
    output = context.run_xpnet(
        "deploy", "--platform", context.target, "--source", DEMO_CLIP, "--sink", video,
        "--triton", "none", "--model", DEFAULT_PLAN, "--size", "720x404", "--output", config_dir,
        *context.repository_option,
    )  # fmt: skip
    config = re.search(r"^deepstream-app -c (.+)$", output, re.M)
    if config is None:
        raise UserError("xpnet deploy printed no command for deepstream-app")
    start = time.perf_counter()
    result = _run([program, "-c", config[1]], context.work_dir)
    seconds = time.perf_counter() - start
    if result.returncode or not video.is_file():
        reason = last_line(result.stdout + result.stderr)
        raise UserError(f"deepstream-app: exit code {result.returncode}: {reason}")
    frames, total = frame_count(video), frame_count(DEMO_CLIP)
    how = f"deepstream-app, {DEFAULT_PLAN}, nvinfer, start and end included"
    context.add_measured("deepstream-app", frames / seconds, "fps", how)
    masks = read_changed_masks(video, DEMO_CLIP)
    counted = f"{frames} of {total} frames"
    if max(float(mask.mean()) for mask in masks.values()) > MAX_CHANGED_SHARE:
        return frames == total, f"{counted}; draws masks without the video: Dice not compared"
    dice = masks_dice(masks, context.reference_masks(DEFAULT_PLAN).masks)
    passed = frames == total and dice >= MIN_DICE_DEEPSTREAM_APP
    return passed, f"{counted}; Dice {dice:.4f}, expected {MIN_DICE_DEEPSTREAM_APP}"


def check_gpu_tests(context: CheckContext) -> CheckResult:
    """Run the project's tests that are marked gpu."""
    context.require_gpu()
    if util.find_spec("pytest") is None or not (ROOT / "tests").is_dir():
        raise CheckSkipped("pytest is not installed: scripts/setup.sh --dev installs it on x86_64")
    result = _run([sys.executable, "-m", "pytest", "-m", "gpu", "tests"], ROOT)
    summary = last_line(result.stdout + result.stderr)
    if result.returncode == 0 and " passed" not in summary:
        raise CheckSkipped(f"all tests marked gpu were skipped: {summary}")
    return result.returncode == 0, summary


def _plan_models(context: CheckContext) -> list[str]:
    """Return the names of the models that are served as TensorRT plans."""
    configs = sorted(context.repository.glob("*/config.pbtxt"))
    return [p.parent.name for p in configs if parse_config(p).platform == "tensorrt_plan"]


def _plan(context: CheckContext, model: str) -> Path:
    return plan_path(context.repository / model)


def _plan_card(context: CheckContext, model: str) -> Card:
    """Read the card that `xpnet build` writes beside the plan."""
    return read_card(_plan(context, model).with_name("card.json"))


def _run(command: list[str], directory: Path) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            command,
            cwd=directory,
            capture_output=True,
            text=True,
            timeout=COMMAND_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        name = Path(command[0]).name
        raise UserError(f"{name}: did not end within {COMMAND_TIMEOUT_S:g} s") from error
