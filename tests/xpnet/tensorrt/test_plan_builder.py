"""Which plan `xpnet build` writes, rejects, or skips.

The fake trtexec takes the place of TensorRT, see conftest.py.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from tests.conftest import ffmpeg, one_line
from tests.xpnet.tensorrt.conftest import MODEL, calls
from xpnet.card import read_card
from xpnet.errors import UserError
from xpnet.paths import MODEL_REPOSITORY, card_path, onnx_path, plan_path
from xpnet.serving.triton_server import servable_models
from xpnet.tensorrt import plan_builder
from xpnet.tensorrt.plan_builder import PlanSettings, build_plan


def test_plan_is_built_checked_and_written_with_its_card(
    fake_trtexec, settings: PlanSettings, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan_builder, "CHECK_FRAMES", 2)
    log = fake_trtexec()
    card = build_plan(settings)
    plan = plan_path(repository / MODEL)
    assert sorted(p.name for p in plan.parent.iterdir()) == ["card.json", "model.plan"]
    assert read_card(card_path(plan.parent)) == card
    assert plan.read_bytes() == onnx_path(repository / f"{MODEL}_onnx").read_bytes()
    graph = card.graph
    assert (graph["gpu"], graph["driver"], graph["tensorrt"]) == ("RTX 3070", "595.1", "10.6.0")
    assert (graph["precision"], graph["median_ms"], graph["dla"]) == ("fp32", 2.0, None)
    assert graph["plan"]["agreement"] > 0.99
    assert card.scores == {}  # the scores in the model's card belong to another file
    _, build, *runs = calls(log)
    size = "3x256x256"
    assert build["optShapes"] == build["minShapes"] == f"frames:1x{size}"
    assert build["maxShapes"] == f"frames:8x{size}"
    assert build.keys() >= {"stronglyTyped", "skipInference", "timingCacheFile"}
    assert "useDLACore" not in build
    assert len(runs) == 2
    assert all("useCudaGraph" in run for run in runs)


def test_plan_for_the_gpu_leaves_the_config_unchanged(settings_with_plan: PlanSettings) -> None:
    ours, original = (
        (folder / MODEL / "config.pbtxt").read_text()
        for folder in (settings_with_plan.repository, MODEL_REPOSITORY)
    )
    assert ours == original


def test_up_to_date_plan_is_not_built_again(
    fake_trtexec, settings_with_plan: PlanSettings, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    caplog.set_level("INFO")
    log = fake_trtexec()
    existing = read_card(card_path(plan_path(settings_with_plan.repository / MODEL).parent))
    other_driver = {"gpu": "RTX 3070", "driver": "596.0"}
    monkeypatch.setattr(plan_builder, "describe_gpu", lambda _: other_driver)
    assert build_plan(replace(settings_with_plan, if_needed=True)) == existing
    assert [list(call) for call in calls(log)] == [["help"]]  # started for its version only
    assert "model.plan: plan is up to date; build skipped" in caplog.text


def test_plan_is_built_again_without_if_needed(
    fake_trtexec, settings_with_plan: PlanSettings
) -> None:
    log = fake_trtexec()
    build_plan(settings_with_plan)
    assert any("onnx" in call for call in calls(log))


def test_other_gpu_needs_a_new_plan(
    fake_trtexec, settings_with_plan: PlanSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_trtexec()
    other_gpu = {"gpu": "RTX 4060", "driver": "595.1"}
    monkeypatch.setattr(plan_builder, "describe_gpu", lambda _: other_gpu)
    assert build_plan(replace(settings_with_plan, if_needed=True)).graph["gpu"] == "RTX 4060"


def test_other_tensorrt_version_needs_a_new_plan(
    fake_trtexec, settings_with_plan: PlanSettings
) -> None:
    fake_trtexec(101600)
    assert build_plan(replace(settings_with_plan, if_needed=True)).graph["tensorrt"] == "10.16.0"


@pytest.mark.parametrize("field", ["threshold", "precision"])
def test_plan_of_another_onnx_file_is_built_again(
    fake_trtexec, settings_with_plan: PlanSettings, field: str
) -> None:
    fake_trtexec()
    path = card_path(plan_path(settings_with_plan.repository / MODEL).parent)
    card = read_card(path)
    changed = {
        "threshold": replace(card, threshold=0.4),
        "precision": replace(card, graph={**card.graph, "precision": "int8"}),
    }
    changed[field].write(path)
    rebuilt = build_plan(replace(settings_with_plan, if_needed=True))
    assert (rebuilt.threshold, rebuilt.graph["precision"]) == (card.threshold, "fp32")


def test_other_candidates_need_a_new_plan(fake_trtexec, settings: PlanSettings) -> None:
    log = fake_trtexec()
    fp16 = replace(settings, precisions=("fp16",), if_needed=True)
    assert build_plan(fp16).graph["precision"] == "fp16"
    both = build_plan(replace(fp16, precisions=("fp16", "int8")))
    assert both.graph["precision"] == "int8"  # the faster one
    count = len(calls(log))
    assert build_plan(replace(fp16, precisions=("int8", "fp16"))) == both
    assert len(calls(log)) == count + 1  # their order does not matter: no build


def test_incomplete_config_is_written_again(fake_trtexec, settings_with_plan: PlanSettings) -> None:
    fake_trtexec()
    config = settings_with_plan.repository / MODEL / "config.pbtxt"
    complete = config.read_text()
    config.write_text(complete.replace("max_batch_size: 8", "max_batch_size: 1"))
    build_plan(replace(settings_with_plan, if_needed=True))
    assert config.read_text() == complete


def test_only_the_volume_is_written_in_a_container(
    fake_trtexec, settings: PlanSettings, tmp_path: Path
) -> None:
    """As in the Dockerfile: `1` is a link to a volume, and the rest of the model is read-only."""
    fake_trtexec()
    folder, volume = settings.repository / MODEL, tmp_path / "plans"
    volume.mkdir()
    shutil.rmtree(folder / "1", ignore_errors=True)
    (folder / "1").symlink_to(volume)
    before = {p.name: p.stat().st_mtime_ns for p in folder.iterdir() if p.name != "1"}
    build_plan(replace(settings, timing_cache=tmp_path / "timing.cache"))
    assert sorted(p.name for p in volume.iterdir()) == ["card.json", "model.plan"]
    assert {p.name: p.stat().st_mtime_ns for p in folder.iterdir() if p.name != "1"} == before
    assert servable_models(settings.repository, (MODEL,)) == (MODEL,)


@pytest.mark.parametrize(("failure", "dice"), [("wrong-output", r"0\.0"), ("nan-output", "nan,")])
def test_plan_with_wrong_output_is_rejected_and_the_existing_plan_stays(
    fake_trtexec, settings: PlanSettings, repository: Path, failure: str, dice: str
) -> None:
    fake_trtexec(failure=failure)
    plan = plan_path(repository / MODEL)
    plan.parent.mkdir(exist_ok=True)
    plan.write_bytes(b"existing plan")
    with pytest.raises(UserError, match=rf"model\.onnx: plan rejected: Dice .* is {dice}"):
        build_plan(settings)
    assert [p.name for p in plan.parent.iterdir()] == ["model.plan"]
    assert plan.read_bytes() == b"existing plan"


def test_fastest_accepted_plan_is_written(
    fake_trtexec, settings: PlanSettings, caplog: pytest.LogCaptureFixture
) -> None:
    both = replace(settings, precisions=("fp16", "int8"))
    fake_trtexec()
    card = build_plan(both)
    assert (card.graph["precision"], card.graph["median_ms"]) == ("int8", 1.0)
    fake_trtexec(failure="wrong-int8-output")
    card = build_plan(both)
    assert (card.graph["precision"], card.graph["median_ms"]) == ("fp16", 2.0)
    assert "int8.onnx: plan rejected" in caplog.text


def test_clip_without_polyps_is_rejected(
    fake_trtexec, settings: PlanSettings, tmp_path: Path
) -> None:
    fake_trtexec()
    black = tmp_path / "black.mp4"
    ffmpeg("-f", "lavfi", "-i", "color=black:s=320x240:d=1", str(black))
    with pytest.raises(UserError, match=r"black\.mp4: the model finds no polyp on 1 frames"):
        build_plan(replace(settings, frames=black))


def test_dla_plan_has_batch_1_and_no_cuda_graphs_in_its_config(
    fake_trtexec, settings: PlanSettings
) -> None:
    fake_trtexec()
    card = build_plan(replace(settings, dla=0, precisions=("fp16",)))
    assert (card.graph["dla"], card.graph["max_batch"]) == (0, 1)
    config = (settings.repository / MODEL / "config.pbtxt").read_text()
    assert "max_batch_size: 1\n" in config
    assert "secondary_devices" in config
    assert "graphs" not in config


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--target", "jetson", "--model", MODEL), "--target jetson: "),
        (("--target", "rtx", "--model", MODEL, "--dla", 0), "--dla 0: "),
        (("--target", "rtx"), "give --model"),
        (("--target", "rtx", "--ahead-of-time"), "--ahead-of-time: give one ONNX file"),
    ],
)
def test_wrong_options_give_one_line(xpnet, options: tuple[object, ...], message: str) -> None:
    assert message in one_line(xpnet("build", *options))
