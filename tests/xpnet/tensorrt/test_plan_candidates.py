"""Invalid ONNX files are rejected with one line each, before a build starts."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import onnx
import pytest

from tests.xpnet.tensorrt.conftest import MODEL
from xpnet.card import read_card
from xpnet.errors import UserError
from xpnet.paths import MODEL_REPOSITORY, card_path, onnx_path, plan_path
from xpnet.tensorrt.plan_builder import PlanSettings, build_plan
from xpnet.tensorrt.plan_candidates import candidate_path

FP16 = candidate_path(MODEL_REPOSITORY / MODEL, "fp16")


def rename_input(model: onnx.ModelProto, _path: Path) -> None:
    for node in model.graph.node:
        node.input[:] = ["image" if name == "frames" else name for name in node.input]
    model.graph.input[0].name = "image"


def resize_input(model: onnx.ModelProto, _path: Path) -> None:
    for side in model.graph.input[0].type.tensor_type.shape.dim[2:]:
        side.dim_value = 128


def add_output(model: onnx.ModelProto, _path: Path) -> None:
    output = model.graph.output.add()
    output.CopyFrom(model.graph.output[0])
    output.name = model.graph.node[-2].output[0]
    output.type.tensor_type.elem_type = onnx.TensorProto.FLOAT16


def set_unknown_opset(model: onnx.ModelProto, _path: Path) -> None:
    model.opset_import[0].version = 99


def delete_card(model: onnx.ModelProto, _path: Path) -> None:
    del model.metadata_props[:]


def delete_weights(model: onnx.ModelProto, path: Path) -> None:
    onnx.save_model(copy.deepcopy(model), str(path), save_as_external_data=True, location="w.bin",
                    size_threshold=100)  # fmt: skip
    path.with_name("w.bin").unlink()
    model.CopyFrom(onnx.load(str(path), load_external_data=False))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (rename_input, r"input .*\('image', .* \('frames', \(-1, 3, 256, 256\)\)"),
        (resize_input, r"input .*\('frames', \(-1, 3, 128, 128\)\).* \(-1, 3, 256, 256\)\)"),
        (add_output, r"output .*\('probabilities', .*\), \('.*\], .*\(-1, 1, 256, 256\)\)"),
        (set_unknown_opset, "ONNX Runtime only .* till opset"),
        (delete_card, "expected a file of `xpnet export`"),
        (delete_weights, r"No such file .*w\.bin"),
    ],
)
def test_modified_onnx_file_is_rejected(
    fake_trtexec, settings: PlanSettings, tmp_path: Path, capfd: pytest.CaptureFixture[str],
    change: Callable[[onnx.ModelProto, Path], None], message: str,
) -> None:  # fmt: skip
    log, model, path = fake_trtexec(), onnx.load(str(FP16)), tmp_path / "x.onnx"
    change(model, path)
    onnx.save(model, str(path))
    with pytest.raises(UserError, match=rf"x\.onnx: .*{message}"):
        build_plan(replace(settings, onnx=(path,)))
    assert not log.exists()  # trtexec was not started
    assert capfd.readouterr().err == ""  # ONNX Runtime does not print the error a second time


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "ModelProto does not have a graph"),
        (b"hello", "Protobuf parsing failed"),
        (FP16.read_bytes()[:100_000], "Protobuf parsing failed"),
    ],
    ids=["empty", "text", "truncated"],
)
def test_file_that_is_not_onnx_is_rejected(
    settings: PlanSettings, tmp_path: Path, content: bytes, message: str
) -> None:
    path = tmp_path / "x.onnx"
    path.write_bytes(content)
    with pytest.raises(UserError, match=rf"x\.onnx: .*{message}"):
        build_plan(replace(settings, onnx=(path,)))


def test_directory_instead_of_an_onnx_file_is_rejected(
    settings: PlanSettings, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="no such ONNX file"):
        build_plan(replace(settings, onnx=(tmp_path,)))


def test_unreadable_clip_is_rejected_before_the_build(
    fake_trtexec, settings: PlanSettings, tmp_path: Path
) -> None:
    log = fake_trtexec()
    with pytest.raises(UserError, match=r"missing\.mp4: "):
        build_plan(replace(settings, frames=tmp_path / "missing.mp4"))
    assert not log.exists()


def test_other_weights_than_the_served_model_are_rejected(
    settings: PlanSettings, repository: Path
) -> None:
    path = card_path(repository / MODEL)
    replace(read_card(path), git_commit="another").write(path)
    with pytest.raises(
        UserError, match=r"model\.onnx: weights, threshold or peak differ .* xpnet_lite"
    ):
        build_plan(settings)


def test_other_model_or_size_than_the_served_model_is_rejected(
    settings: PlanSettings, repository: Path
) -> None:
    other = onnx_path(MODEL_REPOSITORY / "xpnet_onnx")
    message = "model xpnet at 192 x 192, but the repository serves xpnet_lite at 256 x 256"
    with pytest.raises(UserError, match=message):
        build_plan(replace(settings, onnx=(other,)))
    assert not plan_path(repository / MODEL).exists()


def test_unknown_precision_is_rejected(settings: PlanSettings) -> None:
    with pytest.raises(UserError, match="--precision int4: expected one of fp32, fp16, int8"):
        build_plan(replace(settings, precisions=("int4",)))


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_dla_rejects_other_precisions_than_fp16(settings: PlanSettings, precision: str) -> None:
    with pytest.raises(UserError, match=f"precision {precision}, the DLA needs fp16"):
        build_plan(replace(settings, dla=0, precisions=(precision,)))
