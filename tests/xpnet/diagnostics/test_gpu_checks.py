"""The checks for a GPU, with fake programs in place of NVIDIA's.

These tests cover which commands the checks run and how they read their output, but neither
TensorRT nor DeepStream.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import cv2
import pytest

from tests.xpnet.conftest import write_executable
from tests.xpnet.tensorrt.conftest import fake_trtexec_program
from xpnet.diagnostics import gpu_checks
from xpnet.diagnostics.check_context import CheckContext, CheckSkipped
from xpnet.diagnostics.reference_masks import load_reference_masks
from xpnet.errors import UserError
from xpnet.images import clip_frames
from xpnet.overlay import OverlayStyle, draw_mask
from xpnet.paths import DEMO_CLIP, MODEL_REPOSITORY, plan_path


@pytest.fixture
def context(
    tmp_path: Path, nvidia_smi: None, monkeypatch: pytest.MonkeyPatch
) -> Iterator[CheckContext]:
    """A machine with a GPU, and a repository of its own."""
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    for name in ("xpnet_lite", "xpnet_lite_onnx"):
        shutil.copytree(MODEL_REPOSITORY / name, tmp_path / "models" / name)
    made = CheckContext(tmp_path / "models")
    yield made
    made.close()


def install_fake_trtexec(bin_dir: Path, failure: str = "") -> Path:
    """Install a fake trtexec and return its log of calls."""
    log = bin_dir / "calls.jsonl"
    write_executable(bin_dir / "trtexec", fake_trtexec_program(100600, failure, log))
    return log


def test_plans_are_built_compared_and_timed(context: CheckContext, bin_dir: Path) -> None:
    log = install_fake_trtexec(bin_dir)
    passed, found = gpu_checks.check_plans(context)
    assert passed
    assert found.startswith("Dice with ONNX Runtime: xpnet_lite fp16 ")
    passed, found = gpu_checks.check_cuda_graphs(context)
    assert passed, found
    assert "useCudaGraph" in json.loads(log.read_text().splitlines()[-1])
    assert [(m.name, m.value) for m in context.measured] == [
        ("xpnet_lite, plan", 2.0),
        ("xpnet_lite, CUDA graph", 2.0),
    ]


def test_existing_plan_is_not_rebuilt(
    context: CheckContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(context, "run_xpnet", lambda *_: pytest.fail("a plan was built"))
    plan = plan_path(context.repository / "xpnet_lite")
    plan.parent.mkdir(exist_ok=True)
    plan.touch()
    card = json.loads((context.repository / "xpnet_lite" / "card.json").read_text())
    card["graph"] = {
        "precision": "int8",
        "plan": {"agreement": 0.99},
        "gpu": "RTX 3070",
        "tensorrt": "10.6.0",
        "median_ms": 1.5,
    }
    plan.with_name("card.json").write_text(json.dumps(card))
    assert gpu_checks.check_plans(context) == (
        True,
        "Dice with ONNX Runtime: xpnet_lite int8 0.9900",
    )


def test_failed_build_is_an_error_and_skips_cuda_graphs(
    context: CheckContext, bin_dir: Path
) -> None:
    install_fake_trtexec(bin_dir, failure="build-error")
    with pytest.raises(UserError, match=r"xpnet build: exit code 2: .*no such tactic"):
        gpu_checks.check_plans(context)
    with pytest.raises(CheckSkipped, match="there is no plan"):
        gpu_checks.check_cuda_graphs(context)


def test_machine_without_gpu_skips_the_checks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    context = CheckContext()
    for check in (
        gpu_checks.check_plans,
        gpu_checks.check_cuda_graphs,
        gpu_checks.check_deepstream_graph,
        gpu_checks.check_gpu_tests,
    ):
        with pytest.raises(CheckSkipped, match="nvidia-smi is missing"):
            check(context)
    with pytest.raises(CheckSkipped, match="deepstream-app is not installed"):
        gpu_checks.check_deepstream_app(context)
    context.close()


def test_gpu_without_trtexec_and_pyds_skips_the_checks(context: CheckContext) -> None:
    with pytest.raises(CheckSkipped, match="trtexec is not installed"):
        gpu_checks.check_cuda_graphs(context)
    with pytest.raises(CheckSkipped, match="pyds is not installed"):
        gpu_checks.check_deepstream_graph(context)


def write_masked_clip(path: Path, with_video: bool) -> None:
    """Write the demo clip with the reference masks drawn on their frames.

    `with_video=False`: the masks are drawn on a plain colour, as by older versions of DeepStream.
    """
    masks = load_reference_masks(MODEL_REPOSITORY, "xpnet_lite_onnx").masks
    style = OverlayStyle((0, 0, 255), 0.5)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), 25, (720, 404))
    for number, frame in enumerate(clip_frames(DEMO_CLIP)):
        if not with_video:
            frame[:] = (0, 200, 0)
        if number in masks:
            draw_mask(frame, masks[number], style)
        writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
    writer.release()


@pytest.mark.parametrize(
    ("with_video", "expected"),
    [(True, "338 of 338 frames; Dice 0."), (False, "draws masks without the video")],
)
def test_video_of_deepstream_app_is_compared(
    context: CheckContext,
    bin_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
    with_video: bool,
    expected: str,
) -> None:
    config = context.work_dir / "cart.txt"
    calls: list[tuple[object, ...]] = []

    def deploy(*arguments: object) -> str:
        calls.append(arguments)
        return f"deepstream-app -c {config}\n"

    monkeypatch.setattr(context, "run_xpnet", deploy)
    write_masked_clip(context.work_dir / "masked.mp4", with_video)
    write_executable(
        bin_dir / "deepstream-app",
        f'#!/bin/sh\n[ "$*" = "-c {config}" ] && cp masked.mp4 app.mp4\n',
    )
    passed, found = gpu_checks.check_deepstream_app(context)
    assert passed, found
    assert expected in found
    assert calls[0][:5] == ("deploy", "--platform", "rtx", "--source", DEMO_CLIP)


def test_failed_deepstream_app_is_an_error(
    context: CheckContext, bin_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(context, "run_xpnet", lambda *_: "deepstream-app -c cart.txt\n")
    write_executable(bin_dir / "deepstream-app", "#!/bin/sh\necho 'App run failed'; exit 255\n")
    with pytest.raises(UserError, match="deepstream-app: exit code 255: App run failed"):
        gpu_checks.check_deepstream_app(context)


def test_video_without_masks_fails_the_check(
    context: CheckContext, bin_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(context, "run_xpnet", lambda *_: "deepstream-app -c cart.txt\n")
    write_executable(bin_dir / "deepstream-app", f"#!/bin/sh\ncp {DEMO_CLIP} app.mp4\n")
    passed, found = gpu_checks.check_deepstream_app(context)
    assert not passed
    assert "Dice 0.0000, expected 0.8" in found
