"""What no plan is built from: one line each, before anything is built."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import onnx
import pytest

from tests.xpnet.tensorrt.conftest import calls
from xpnet.errors import UserError
from xpnet.paths import MODEL_REPOSITORY
from xpnet.tensorrt.plan_builder import PlanSettings, build_plan, graph_of

FP16 = graph_of(MODEL_REPOSITORY / "xpnet_lite", "fp16")


def rename(model: onnx.ModelProto, _path: Path) -> None:
    for node in model.graph.node:
        node.input[:] = ["image" if name == "frames" else name for name in node.input]
    model.graph.input[0].name = "image"


def resize(model: onnx.ModelProto, _path: Path) -> None:
    for side in model.graph.input[0].type.tensor_type.shape.dim[2:]:
        side.dim_value = 128


def second_output(model: onnx.ModelProto, _path: Path) -> None:
    again = model.graph.output.add()
    again.CopyFrom(model.graph.output[0])
    again.name = model.graph.node[-2].output[0]
    again.type.tensor_type.elem_type = onnx.TensorProto.FLOAT16


def from_the_future(model: onnx.ModelProto, _path: Path) -> None:
    model.opset_import[0].version = 99


def foreign(model: onnx.ModelProto, _path: Path) -> None:
    del model.metadata_props[:]


def without_weights(model: onnx.ModelProto, path: Path) -> None:
    onnx.save_model(copy.deepcopy(model), str(path), save_as_external_data=True, location="w.bin",
                    size_threshold=100)  # fmt: skip
    path.with_name("w.bin").unlink()
    model.CopyFrom(onnx.load(str(path), load_external_data=False))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (rename, r"its input is \[\('image', .* its card says \('frames', \(-1, 3, 256, 256\)\)"),
        (resize, r"its input is \[\('frames', \(-1, 3, 128, 128\)\)\], its card says"),
        (second_output, r"its output is \[\('probabilities', .*\), \('.*\], its card says"),
        (from_the_future, "not a model that ONNX Runtime loads: ONNX Runtime only .* till opset"),
        (foreign, "carries no XP-Net card: expected a file of `xpnet export`"),
        (without_weights, r"not a model that ONNX Runtime loads: .*No such file .*w\.bin"),
    ],
)
def test_a_graph_that_is_not_ours_is_named(
    trtexec, settings: PlanSettings, tmp_path: Path, capfd: pytest.CaptureFixture[str],
    change: Callable[[onnx.ModelProto, Path], None], said: str,
) -> None:  # fmt: skip
    log, model, path = trtexec(), onnx.load(str(FP16)), tmp_path / "x.onnx"
    change(model, path)
    onnx.save(model, str(path))
    with pytest.raises(UserError, match=rf"x\.onnx: {said}"):
        build_plan(replace(settings, onnx=(path,)))
    assert not log.exists() or not any("onnx" in call for call in calls(log))
    assert capfd.readouterr().err == ""  # ONNX Runtime says it no second time


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "loads: ModelProto does not have a graph"),
        (b"hello", "loads: Protobuf parsing failed"),
        (FP16.read_bytes()[:100_000], "loads: Protobuf parsing failed"),
    ],
    ids=["empty", "text", "cut off"],
)
def test_a_file_that_is_no_graph_is_named(
    settings: PlanSettings, tmp_path: Path, content: bytes, said: str
) -> None:
    path = tmp_path / "x.onnx"
    path.write_bytes(content)
    with pytest.raises(UserError, match=rf"x\.onnx: not a model that ONNX Runtime {said}"):
        build_plan(replace(settings, onnx=(path,)))
    with pytest.raises(UserError, match="no such ONNX file"):
        build_plan(replace(settings, onnx=(tmp_path,)))


def test_frames_are_looked_at_before_minutes_of_building(
    trtexec, settings: PlanSettings, tmp_path: Path
) -> None:
    log = trtexec()
    with pytest.raises(UserError, match=r"none\.mp4: "):
        build_plan(replace(settings, frames=tmp_path / "none.mp4"))
    assert not log.exists()
