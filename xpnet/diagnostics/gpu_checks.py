"""The checks that need an NVIDIA GPU: plans, DeepStream, the tests marked gpu.

Made from NVIDIA's documents, and not run yet: docs/where-it-ran.md. What they call is the command
line, so each says what the command says where it fails.
"""

from __future__ import annotations

import re
import subprocess
import sys
import time
from importlib import util
from pathlib import Path

from xpnet.card import Card, read_card
from xpnet.diagnostics.check_context import COMMAND_S, Site, Skipped
from xpnet.diagnostics.cpu_checks import HALF, Result, frames_of, stored_of
from xpnet.diagnostics.reference_masks import CLIP, DRAWN, changed_masks, dice, drawn_masks, mask_on
from xpnet.errors import UserError
from xpnet.frames import frame_to_tensor
from xpnet.images import frame_count
from xpnet.paths import ROOT
from xpnet.serving.model_config import DEFAULT_PLAN
from xpnet.tensorrt.trtexec import Trtexec, find_trtexec

ON_GPU = 0.9
"""Dice of a GPU graph's masks with the stored ones: it scales frames otherwise than we do."""
PAINTED = 0.8
"""The same where the picture is all there is: a painted mask is told from the source's pixels."""
HIDDEN = 0.6
"""Share of a picture that differs where the element paints masks alone, not on the video."""
DEEPSTREAM = "NVIDIA DeepStream"


def plans(site: Site) -> Result:
    """Builds each model's plan; `xpnet build` refuses one that differs from ONNX Runtime.

    A plan that is there stays as it is: it may be of another precision, or of the accelerator.
    """
    site.gpu()
    said = []
    for model in _plan_models(site):
        if not _plan(site, model).is_file():
            site.xpnet("build", "--target", site.target, "--model", model, *_repository(site))
        card = _plan_card(site, model)
        made = card.graph
        said.append(f"{model} {made['precision']} {made['plan']['agreement']:.4f}")
        how = f"{made['gpu']}, TensorRT {made['tensorrt']}, as `xpnet build` timed it"
        site.figure(f"{model}, plan", made["median_ms"], "ms a frame", how)
    return True, f"Dice with ONNX Runtime: {', '.join(said)}"


def cuda_graphs(site: Site) -> Result:
    """Trtexec with CUDA graphs on every plan that is there: its masks, and the time of a frame."""
    site.gpu()
    program = find_trtexec()
    if program is None:
        raise Skipped("no trtexec on this machine: it comes with JetPack and NVIDIA's containers")
    built = [m for m in _plan_models(site) if (_plan(site, m)).is_file()]
    if not built:
        raise Skipped("no plan was built")
    tool, frames, found = Trtexec(program), frames_of(site), {}
    for model in built:
        card = _plan_card(site, model)
        height, width = card.input.height, card.input.width
        tensors = [frame_to_tensor(frame, height, width) for frame in frames.values()]
        maps, median_ms = tool.run(_plan(site, model), card, tensors, card.graph["dla"])
        masks = {
            number: mask_on(frame, maps[i, 0], card)
            for i, (number, frame) in enumerate(frames.items())
        }
        found[model] = dice(masks, stored_of(site, model).masks)
        how = f"TensorRT {tool.version}, {tool.describe_timing(card.graph['dla'])}, median"
        site.figure(f"{model}, CUDA graph", median_ms, "ms a frame", how)
    words = ", ".join(f"{model} {value:.4f}" for model, value in found.items())
    return min(found.values()) >= HALF, f"Dice {words}, expected {HALF}"


def deepstream_graph(site: Site) -> Result:
    """`xpnet run --platform deepstream` on the clip, its masks read back from the picture."""
    site.gpu()
    if util.find_spec("pyds") is None:
        raise Skipped("no pyds on this machine: it comes with NVIDIA DeepStream")
    options = ("--platform", "deepstream", "--model", DEFAULT_PLAN, *_repository(site))
    summary = site.graph("deepstream", CLIP, *options, "--colour", DRAWN, "--opacity", 1)
    how = f"xpnet run --platform deepstream, {DEFAULT_PLAN}"
    site.figure("the graph on DeepStream", summary["fps"], "frames a second", how)
    masks = drawn_masks(site.folder / "deepstream.mp4")
    agreed = dice(masks, stored_of(site, DEFAULT_PLAN).masks)
    whole = summary["frames"] == frame_count(CLIP) and summary["frames_without_mask"] == 0
    return whole and agreed >= ON_GPU, (
        f"{summary['frames']} frames, {summary['frames_without_mask']} without a mask; Dice "
        f"{agreed:.4f}, expected {ON_GPU}"
    )


def deepstream_app(site: Site) -> Result:
    """NVIDIA's own program with the files of `xpnet deploy`, from the clip into a file."""
    program = site.program("deepstream-app", DEEPSTREAM)
    site.gpu()
    video, folder = site.folder / "app.mp4", site.folder / "configs"
    folder.mkdir()
    printed = site.xpnet(
        "deploy", "--platform", site.target, "--source", CLIP, "--sink", video, "--triton", "none",
        "--model", DEFAULT_PLAN, "--size", "720x404", "--output", folder, *_repository(site),
    )  # fmt: skip
    config = re.search(r"^deepstream-app -c (.+)$", printed, re.M)
    if config is None:
        raise UserError("xpnet deploy named no file for deepstream-app")
    start = time.perf_counter()
    result = _run([program, "-c", config[1]], site.folder)
    seconds = time.perf_counter() - start
    if result.returncode or not video.is_file():
        raise UserError(f"deepstream-app: exit code {result.returncode}: {_last_line(result)}")
    frames = frame_count(video)
    how = f"deepstream-app, {DEFAULT_PLAN}, nvinfer, start and end included"
    site.figure("deepstream-app", frames / seconds, "frames a second", how)
    masks = changed_masks(video, CLIP)
    words = f"{frames} of {frame_count(CLIP)} frames"
    if max(float(mask.mean()) for mask in masks.values()) > HIDDEN:
        return frames == frame_count(CLIP), f"{words}; it paints masks alone: not compared"
    agreed = dice(masks, stored_of(site, DEFAULT_PLAN).masks)
    held = frames == frame_count(CLIP) and agreed >= PAINTED
    return held, f"{words}; Dice {agreed:.4f}, expected {PAINTED}"


def gpu_tests(site: Site) -> Result:
    """The project's tests that are marked gpu."""
    site.gpu()
    if util.find_spec("pytest") is None or not (ROOT / "tests").is_dir():
        raise Skipped("no pytest here: scripts/setup.sh --dev installs it, on x86_64 alone")
    result = _run([sys.executable, "-m", "pytest", "-m", "gpu", "tests"], ROOT)
    said = _last_line(result)
    if result.returncode == 0 and " passed" not in said:
        raise Skipped(f"every test marked gpu was skipped: {said}")
    return result.returncode == 0, said


def _plan_models(site: Site) -> list[str]:
    """The models that are served as TensorRT plans."""
    configs = sorted(site.repository.glob("*/config.pbtxt"))
    return [p.parent.name for p in configs if "tensorrt_plan" in p.read_text(encoding="utf-8")]


def _plan(site: Site, model: str) -> Path:
    return site.repository / model / "1" / "model.plan"


def _plan_card(site: Site, model: str) -> Card:
    return read_card(_plan(site, model).with_name("card.json"))


def _repository(site: Site) -> tuple[str, Path]:
    return "--repository", site.repository.absolute()


def _run(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=COMMAND_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise UserError(f"{Path(command[0]).name}: no end within {COMMAND_S:g} s") from error


def _last_line(result: subprocess.CompletedProcess[str]) -> str:
    lines = [x for x in (result.stdout + result.stderr).splitlines() if x.strip()]
    return lines[-1].strip() if lines else "it said nothing"
