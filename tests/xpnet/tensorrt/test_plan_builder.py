"""Plans: what goes in, what is refused, what is written; TensorRT itself is on a target only."""

from __future__ import annotations

import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.conftest import ffmpeg, one_line
from tests.xpnet.tensorrt.conftest import calls
from xpnet.card import Card, read_card
from xpnet.errors import UserError
from xpnet.host import gpu
from xpnet.paths import MODEL_REPOSITORY
from xpnet.serving.triton_server import servable_models
from xpnet.tensorrt import plan_builder, python_api
from xpnet.tensorrt.agreement import check_agreement
from xpnet.tensorrt.engine_inference import EngineInference
from xpnet.tensorrt.network_definition import build, read_model
from xpnet.tensorrt.plan_builder import PlanSettings, build_plan, find_tool
from xpnet.tensorrt.rtx_engine import bindings


def test_a_plan_is_built_checked_and_written_with_its_card(
    trtexec, settings: PlanSettings, repository: Path
) -> None:
    log = trtexec()
    card = build_plan(settings)
    written = repository / "xpnet_lite" / "1"
    assert sorted(p.name for p in written.iterdir()) == ["card.json", "model.plan"]
    assert read_card(written / "card.json") == card
    onnx = repository / "xpnet_lite_onnx" / "1" / "model.onnx"
    assert (written / "model.plan").read_bytes() == onnx.read_bytes()
    made = card.graph
    assert (made["gpu"], made["driver"], made["tensorrt"]) == ("RTX 3070", "595.1", "10.6.0")
    assert (made["precision"], made["median_ms"], made["dla"]) == ("fp32", 2.0, None)
    assert made["plan"]["agreement"] > 0.99
    assert card.scores == {}  # those of the card are of another file
    same = (MODEL_REPOSITORY / "xpnet_lite" / "config.pbtxt").read_text()
    assert (repository / "xpnet_lite" / "config.pbtxt").read_text() == same
    _, build, *runs = calls(log)
    size = "3x256x256"
    assert build["optShapes"] == build["minShapes"] == f"frames:1x{size}"
    assert build["maxShapes"] == f"frames:8x{size}"
    assert build.keys() >= {"stronglyTyped", "skipInference", "timingCacheFile"}
    assert "useDLACore" not in build
    assert len(runs) == plan_builder.FRAMES
    assert all("useCudaGraph" in run for run in runs)


def test_a_plan_that_fits_is_kept(
    trtexec, settings: PlanSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = trtexec()
    again = replace(settings, if_needed=True)
    first = build_plan(again)
    built = len(calls(log))
    monkeypatch.setattr(
        plan_builder, "describe_gpu", lambda _: {"gpu": "RTX 3070", "driver": "596.0"}
    )
    assert build_plan(again) == first
    assert len(calls(log)) == built + 1  # asked for its version alone
    monkeypatch.setattr(
        plan_builder, "describe_gpu", lambda _: {"gpu": "RTX 4060", "driver": "595.1"}
    )
    assert build_plan(again).graph["gpu"] == "RTX 4060"
    trtexec(101600)
    assert build_plan(again).graph["tensorrt"] == "10.16.0"
    built = len(calls(log))
    build_plan(settings)  # without it, always anew
    assert len(calls(log)) > built + 1


def test_another_choice_of_graphs_is_built_and_a_config_that_was_cut_off_is_mended(
    trtexec, settings: PlanSettings
) -> None:
    log = trtexec()
    one = replace(settings, precisions=("fp16",), if_needed=True)
    assert build_plan(one).graph["precision"] == "fp16"
    both = build_plan(replace(one, precisions=("fp16", "int8")))
    assert both.graph["precision"] == "int8"  # the faster one
    config = settings.repository / "xpnet_lite" / "config.pbtxt"
    before = config.read_text()
    config.write_text(before.replace("max_batch_size: 8", "max_batch_size: 1"))
    built = len(calls(log))
    assert build_plan(replace(one, precisions=("int8", "fp16"))) == both
    assert len(calls(log)) == built + 1  # kept
    assert config.read_text() == before


def test_a_container_keeps_its_plans_in_a_volume(
    trtexec, settings: PlanSettings, tmp_path: Path
) -> None:
    """As in the Dockerfile: `1` leads to the volume, and nothing else of the model is written."""
    trtexec()
    folder, volume = settings.repository / "xpnet_lite", tmp_path / "plans"
    volume.mkdir()
    shutil.rmtree(folder / "1", ignore_errors=True)
    (folder / "1").symlink_to(volume)
    before = {p.name: p.stat().st_mtime_ns for p in folder.iterdir() if p.name != "1"}
    build_plan(replace(settings, timing_cache=tmp_path / "timing.cache"))
    assert sorted(p.name for p in volume.iterdir()) == ["card.json", "model.plan"]
    assert {p.name: p.stat().st_mtime_ns for p in folder.iterdir() if p.name != "1"} == before
    assert servable_models(settings.repository, ("xpnet_lite",)) == ("xpnet_lite",)


def test_a_plan_of_another_graph_is_built_anew(trtexec, settings: PlanSettings) -> None:
    trtexec()
    card = build_plan(settings)
    path = settings.repository / "xpnet_lite" / "1" / "card.json"
    replace(card, threshold=0.4).write(path)
    assert build_plan(replace(settings, if_needed=True)).threshold == card.threshold
    replace(card, graph={**card.graph, "precision": "int8"}).write(path)
    rebuilt = build_plan(replace(settings, if_needed=True))
    assert rebuilt.graph["precision"] == "fp32"


def test_a_plan_that_computes_something_else_is_refused(
    trtexec, settings: PlanSettings, repository: Path
) -> None:
    trtexec(mood="wrong")
    written = repository / "xpnet_lite" / "1"
    written.mkdir(exist_ok=True)
    (written / "model.plan").write_bytes(b"before")
    with pytest.raises(UserError, match=r"model\.onnx: its plan is refused: masks agree .* Dice 0"):
        build_plan(settings)
    assert [p.name for p in written.iterdir()] == ["model.plan"]
    assert (written / "model.plan").read_bytes() == b"before"
    with pytest.raises(UserError, match="refused"):
        check_agreement(Path("x.onnx"), {"mean_difference": float("nan"), "agreement": 1.0})


def test_the_fastest_that_agrees_is_kept(
    trtexec, settings: PlanSettings, caplog: pytest.LogCaptureFixture
) -> None:
    both = replace(settings, precisions=("fp16", "int8"))
    trtexec()
    card = build_plan(both)
    assert (card.graph["precision"], card.graph["median_ms"]) == ("int8", 1.0)
    trtexec(mood="bad-int8")
    card = build_plan(both)
    assert (card.graph["precision"], card.graph["median_ms"]) == ("fp16", 2.0)
    assert "int8.onnx: its plan is refused" in caplog.text


def test_what_is_no_number_is_refused(trtexec, settings: PlanSettings) -> None:
    trtexec(mood="nan")
    with pytest.raises(UserError, match="its plan is refused"):
        build_plan(settings)


def test_frames_without_a_polyp_check_nothing(
    trtexec, settings: PlanSettings, tmp_path: Path
) -> None:
    trtexec()
    black = tmp_path / "black.mp4"
    ffmpeg("-f", "lavfi", "-i", "color=black:s=320x240:d=1", str(black))
    with pytest.raises(UserError, match=r"black\.mp4: no polyp on 2 frames"):
        build_plan(replace(settings, frames=black))


def test_graphs_of_other_weights_are_refused(
    trtexec, settings: PlanSettings, repository: Path
) -> None:
    trtexec()
    path = repository / "xpnet_lite" / "card.json"
    replace(read_card(path), git_commit="another").write(path)
    with pytest.raises(UserError, match="is of other weights or threshold than xpnet_lite"):
        build_plan(settings)


def test_the_accelerator_takes_fp16_alone_and_its_config_says_so(
    trtexec, settings: PlanSettings
) -> None:
    trtexec()
    for precision in ("fp32", "int8"):
        with pytest.raises(UserError, match=f"is {precision}, the accelerator"):
            build_plan(replace(settings, dla=0, precisions=(precision,)))
    build_plan(replace(settings, dla=0, precisions=("fp16",)))
    config = (settings.repository / "xpnet_lite" / "config.pbtxt").read_text()
    assert "max_batch_size: 1\n" in config
    assert "secondary_devices" in config
    assert "graphs" not in config


def test_graphs_of_another_model_or_size_are_named(
    trtexec, settings: PlanSettings, repository: Path
) -> None:
    trtexec()
    other = MODEL_REPOSITORY / "xpnet_onnx" / "1" / "model.onnx"
    with pytest.raises(UserError, match="is xpnet at 192 x 192, the repository serves xpnet_lite"):
        build_plan(replace(settings, onnx=(other,)))
    with pytest.raises(UserError, match="--precision int4: expected one of fp32, fp16, int8"):
        build_plan(replace(settings, precisions=("int4",)))
    assert not (repository / "xpnet_lite" / "1" / "model.plan").exists()


def test_a_plan_of_another_version_is_named(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Module:
        __version__ = "10.3.0.30"

    monkeypatch.setitem(sys.modules, "tensorrt", Module)
    folder = repository / "xpnet_lite" / "1"
    folder.mkdir(exist_ok=True)
    (folder / "model.plan").write_bytes(b"plan")
    card: Card = read_card(repository / "xpnet_lite" / "card.json")
    replace(card, graph={"tensorrt": "10.16.0.72"}).write(folder / "card.json")
    with pytest.raises(UserError, match=r"built with TensorRT 10\.16\.0\.72, here is 10\.3\.0\.30"):
        EngineInference(folder / "model.plan")
    # trtexec tells three numbers of the version; the card of another file is found out.
    replace(card, graph={"tensorrt": "10.3.0", "sha256": "0"}).write(folder / "card.json")
    with pytest.raises(UserError, match="the card beside it is of another file"):
        EngineInference(folder / "model.plan")


def test_the_machine_must_be_the_target(xpnet, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "--target jetson: expected a machine of aarch64" in one_line(
        xpnet("build", "--target", "jetson", "--model", "xpnet_lite")
    )
    assert "--dla 0: expected 0 or 1, with --target jetson" in one_line(
        xpnet("build", "--target", "rtx", "--model", "xpnet_lite", "--dla", 0)
    )
    assert "give --model" in one_line(xpnet("build", "--target", "rtx"))
    assert "--ahead-of-time: give one ONNX file" in one_line(
        xpnet("build", "--target", "rtx", "--ahead-of-time")
    )
    monkeypatch.setattr(gpu.shutil, "which", lambda _: None)
    with pytest.raises(UserError, match="no nvidia-smi"):
        gpu.describe_gpu("rtx")


def test_a_jetson_is_named_in_a_container_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hidden, handed_in = tmp_path / "model", tmp_path / "jetson-model"
    monkeypatch.setattr(gpu, "JETSON_MODELS", (hidden, handed_in))
    with pytest.raises(UserError, match=r"no .*model or .*jetson-model: which Jetson is this\?"):
        gpu.describe_gpu("jetson")
    handed_in.write_text("NVIDIA Jetson AGX Orin Developer Kit\x00")
    assert gpu.describe_gpu("jetson")["gpu"] == "NVIDIA Jetson AGX Orin Developer Kit"


class RtxAsTensorRt:
    """TensorRT-RTX's module in the place of TensorRT's, whose API it has."""

    def __init__(self) -> None:
        self._trt = bindings()

    def __getattr__(self, name: str) -> object:
        return "10.9.0.1" if name == "__version__" else getattr(self._trt, name)

    def build(self, trt, library, onnx, configure, most, typed):  # type: ignore[no-untyped-def]
        def both(builder, config) -> None:  # type: ignore[no-untyped-def]
            config.num_compute_capabilities = 1
            config.set_compute_capability(self._trt.ComputeCapability.SM86, 0)
            configure(builder, config)

        return build(self._trt, library, onnx, both, most, typed)


def test_the_module_builds_with_a_timing_cache(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    trt = RtxAsTensorRt()
    monkeypatch.setattr(python_api, "tensorrt", lambda: trt)
    monkeypatch.setattr(python_api, "build", trt.build)
    monkeypatch.setattr(python_api, "require_cuda_runtime", lambda: None)
    tool = find_tool()
    assert (tool.version, tool.times(None)) == ("10.9.0.1", "Python, copies included")
    onnx = plan_builder.graph_of(MODEL_REPOSITORY / "xpnet_lite", "fp16")
    output, cache = tmp_path / "x.plan", tmp_path / "timings"
    cache.write_bytes(b"of something else")
    tool.build(onnx, read_model(onnx), output, None, cache)
    assert output.stat().st_size > 1_000_000
    assert sorted(p.name for p in tmp_path.iterdir()) == ["timings", "x.plan"]
    with pytest.raises(UserError, match=r"--dla 1: TensorRT 10\.9\.0\.1 finds 0 such cores"):
        tool.build(onnx, read_model(onnx), output, 1, cache)
