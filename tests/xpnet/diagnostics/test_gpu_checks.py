"""The checks for a GPU, driven by stand-ins: what they run, and what they make of what it says.

Nothing here says anything of TensorRT or DeepStream themselves.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import pytest

from tests.xpnet.tensorrt.conftest import fake_trtexec_program
from xpnet.diagnostics import gpu_checks
from xpnet.diagnostics.check_context import Site, Skipped
from xpnet.diagnostics.reference_masks import CLIP, stored_masks
from xpnet.errors import UserError
from xpnet.images import clip_frames
from xpnet.overlay import OverlayStyle, draw_mask
from xpnet.paths import MODEL_REPOSITORY


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], Path]:
    """Puts a program with this text first on PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")

    def put(name: str, text: str) -> Path:
        path = folder / name
        path.write_text(text)
        path.chmod(0o755)
        return path

    return put


@pytest.fixture
def site(tmp_path: Path, program) -> Iterator[Site]:
    """A machine with a GPU, so it says, and a repository of its own."""
    program("nvidia-smi", "#!/bin/sh\necho RTX 3070 Laptop, 595.1, GPU-1\n")
    for name in ("xpnet_lite", "xpnet_lite_onnx"):
        shutil.copytree(MODEL_REPOSITORY / name, tmp_path / "models" / name)
    made = Site(tmp_path / "models")
    yield made
    made.close()


def put_trtexec(program, tmp_path: Path, failure: str = "") -> None:
    program("trtexec", fake_trtexec_program(100600, failure, tmp_path / "calls.jsonl"))


def test_plans_are_built_compared_and_timed(site: Site, program, tmp_path: Path) -> None:
    put_trtexec(program, tmp_path)
    held, found = gpu_checks.plans(site)
    assert held
    assert found.startswith("Dice with ONNX Runtime: xpnet_lite fp16 ")
    held, found = gpu_checks.cuda_graphs(site)
    assert held, found
    calls = [json.loads(x) for x in (tmp_path / "calls.jsonl").read_text().splitlines()]
    assert "useCudaGraph" in calls[-1]
    assert [(f.name, f.value) for f in site.figures] == [
        ("xpnet_lite, plan", 2.0),
        ("xpnet_lite, CUDA graph", 2.0),
    ]


def test_a_plan_that_is_there_stays(site: Site, program, tmp_path: Path) -> None:
    put_trtexec(program, tmp_path)
    gpu_checks.plans(site)
    log = tmp_path / "calls.jsonl"
    built = log.read_text()
    held, found = gpu_checks.plans(site)
    assert held
    assert found.startswith("Dice with ONNX Runtime: xpnet_lite fp16 ")
    assert log.read_text() == built


def test_a_plan_that_computes_something_else_is_told(site: Site, program, tmp_path: Path) -> None:
    put_trtexec(program, tmp_path, "wrong-output")
    with pytest.raises(UserError, match="plan rejected"):
        gpu_checks.plans(site)
    with pytest.raises(Skipped, match="no plan was built"):
        gpu_checks.cuda_graphs(site)


def test_no_gpu_and_no_program_are_reasons(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    site = Site(MODEL_REPOSITORY)
    for check in (gpu_checks.plans, gpu_checks.cuda_graphs, gpu_checks.gpu_tests):
        with pytest.raises(Skipped, match="no nvidia-smi"):
            check(site)
    with pytest.raises(Skipped, match="no deepstream-app on this machine"):
        gpu_checks.deepstream_app(site)
    site.close()


def test_a_gpu_without_the_rest_is_told(site: Site) -> None:
    with pytest.raises(Skipped, match="no trtexec on this machine"):
        gpu_checks.cuda_graphs(site)
    with pytest.raises(Skipped, match="no pyds on this machine"):
        gpu_checks.deepstream_graph(site)


def paint(video: Path, alone: bool = False) -> None:
    """What deepstream-app would write: the stored masks on the frames that are compared.

    `alone`: as older DeepStreams do, without the video behind them.
    """
    stored = stored_masks(MODEL_REPOSITORY, "xpnet_lite_onnx").masks
    style = OverlayStyle((0, 0, 255), 0.5)
    writer = cv2.VideoWriter(str(video), cv2.VideoWriter_fourcc(*"mp4v"), 25, (720, 404))
    for number, frame in enumerate(clip_frames(CLIP)):
        if alone:
            frame[:] = (0, 200, 0)
        if number in stored:
            draw_mask(frame, stored[number], style)
        writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
    writer.release()


@pytest.mark.parametrize(
    ("alone", "said"), [(False, "338 of 338 frames; Dice 0."), (True, "it paints masks alone")]
)
def test_the_video_of_deepstream_app_is_compared(
    site: Site, program, monkeypatch: pytest.MonkeyPatch, alone: bool, said: str
) -> None:
    config = site.folder / "cart.txt"
    asked: list[tuple[object, ...]] = []

    def deploy(*arguments: object) -> str:
        asked.append(arguments)
        return f"deepstream-app -c {config}\n"

    monkeypatch.setattr(site, "xpnet", deploy)
    paint(site.folder / "painted.mp4", alone)
    program("deepstream-app", f'#!/bin/sh\n[ "$*" = "-c {config}" ] && cp painted.mp4 app.mp4\n')
    held, found = gpu_checks.deepstream_app(site)
    assert held, found
    assert said in found
    assert asked[0][:5] == ("deploy", "--platform", "rtx", "--source", CLIP)


def test_a_deepstream_app_that_fails_is_told(
    site: Site, program, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(site, "xpnet", lambda *_: "deepstream-app -c cart.txt\n")
    program("deepstream-app", "#!/bin/sh\necho 'App run failed'; exit 255\n")
    with pytest.raises(UserError, match="deepstream-app: exit code 255: App run failed"):
        gpu_checks.deepstream_app(site)


def test_other_masks_do_not_hold(site: Site, program, monkeypatch: pytest.MonkeyPatch) -> None:
    """A video on which nothing was painted."""
    monkeypatch.setattr(site, "xpnet", lambda *_: "deepstream-app -c cart.txt\n")
    program("deepstream-app", f"#!/bin/sh\ncp {CLIP} app.mp4\n")
    held, found = gpu_checks.deepstream_app(site)
    assert not held
    assert "Dice 0.0000, expected 0.8" in found
