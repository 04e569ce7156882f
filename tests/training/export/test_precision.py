"""FP16 and INT8 graphs: they run, agree with FP32 and have reports."""

from __future__ import annotations

import json
import logging
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from tests.conftest import ROOT, one_line
from training.export.onnx_export import export_onnx
from training.export.precision import AGREEMENT, BATCH_TOLERANCE, Report, convert
from training.export.quantized_graph import convolutions, remove_unused, without_quantization
from training.models.weight_files import load_network
from xpnet.card import Card
from xpnet.cli import main
from xpnet.errors import UserError
from xpnet.frames import frame_to_tensor
from xpnet.paths import MODEL_REPOSITORY
from xpnet.serving.onnx_inference import OnnxInference

WEIGHTS = ROOT / "training" / "weights" / "lite.safetensors"
SIZE = 64


@pytest.fixture(scope="module")
def exported(frames: list[np.ndarray], tmp_path_factory: pytest.TempPathFactory) -> Path:
    network, card = load_network(WEIGHTS)
    path = tmp_path_factory.mktemp("exported") / "lite.onnx"
    export_onnx(network, card.at_size(SIZE, SIZE), frames[:1], path)
    return path


@pytest.fixture(scope="module")
def card(exported: Path) -> Card:
    model = OnnxInference(exported)
    model.close()
    return model.card


@pytest.fixture(scope="module", params=["int8", "uint8", "fp16"])
def made(
    request: pytest.FixtureRequest, exported: Path, card: Card, frames: list[np.ndarray]
) -> tuple[Path, Report]:
    path = exported.with_name(f"{request.param}.onnx")
    return path, convert(exported, card, frames, request.param, path)


def test_converted_file_is_smaller_agrees_and_has_its_card(
    made: tuple[Path, Report], card: Card, frames: list[np.ndarray]
) -> None:
    path, report = made
    assert report.size_bytes < 0.6 * report.size_bytes_fp32
    assert 0 < report.mean_difference < report.largest_difference < 0.6
    assert report.mean_difference < 0.02
    model = OnnxInference(path)
    model.close()
    assert model.card.input == card.input  # float32, as in FP32's card
    assert model.card.graph["precision"] == report.precision
    assert model.card.graph["left_out"] == list(report.left_out)
    written = json.loads(path.with_suffix(".report.json").read_text())
    assert written["agreement"] == report.agreement


def test_tensors_have_the_types_of_the_precision(made: tuple[Path, Report]) -> None:
    path, report = made
    model = onnx.load(str(path))
    types = Counter(t.data_type for t in model.graph.initializer)
    kinds = Counter(node.op_type for node in model.graph.node)
    if report.precision == "fp16":
        assert types[onnx.TensorProto.FLOAT16] > 50
        assert kinds["QuantizeLinear"] == 0
        level = logging.getLogger("modelopt.onnx.autocast").getEffectiveLevel()
        assert level >= logging.ERROR  # at its default level it prints each step twice
        return
    made_by = {out: node.op_type for node in model.graph.node for out in node.output}
    convs = [node for node in model.graph.node if node.op_type == "Conv"]
    floats = {n.name for n in convs if made_by.get(n.input[0]) != "DequantizeLinear"}
    assert floats == set(report.left_out)
    assert len(floats) <= 0.1 * len(convs)
    zero_points = {node.input[2] for node in model.graph.node if node.op_type == "QuantizeLinear"}
    values = [
        onnx.numpy_helper.to_array(t) for t in model.graph.initializer if t.name in zero_points
    ]
    wanted = np.int8 if report.precision == "int8" else np.uint8
    assert {v.dtype for v in values} == {np.dtype(wanted)}
    if report.precision == "int8":  # TensorRT has no zero points
        assert not any(v.any() for v in values)
    read = {name for node in model.graph.node for name in node.input}
    assert {t.name for t in model.graph.initializer} <= read


def test_left_out_convolutions_have_float_inputs(
    exported: Path, card: Card, frames: list[np.ndarray]
) -> None:
    path = exported.with_name("whole.onnx")
    convert(exported, card, frames[:2], "int8", path)
    model, floats = onnx.load(str(path)), onnx.load(str(exported))
    back = remove_unused(without_quantization(model, floats, tuple(convolutions(model))))
    made_by = {out: node.op_type for node in back.graph.node for out in node.output}
    read = [made_by.get(n.input[i]) for n in back.graph.node if n.op_type == "Conv" for i in (0, 1)]
    assert len(read) == 2 * 54
    assert "DequantizeLinear" not in read
    with pytest.raises(KeyError):
        without_quantization(model, floats, ("none",))


def test_wrong_use_gives_one_line(
    xpnet, exported: Path, card: Card, frames: list[np.ndarray], tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="int4: expected one of fp32, fp16, int8, uint8"):
        convert(exported, card, frames, "int4", tmp_path / "x.onnx")
    with pytest.raises(UserError, match="none were given"):
        convert(exported, card, [], "int8", tmp_path / "x.onnx")
    assert "give --output" in one_line(xpnet("export", WEIGHTS, "--precision", "int8"))
    call = ("export", WEIGHTS, "--output", tmp_path / "x.onnx")
    assert "belong to --precision" in one_line(xpnet(*call, "--score", "a=b"))
    assert "no such folder" in one_line(
        xpnet(*call, "--precision", "int8", "--calibration", tmp_path / "none")
    )
    assert list(tmp_path.iterdir()) == []
    assert 0.9 < AGREEMENT < 1


def test_graph_that_mixes_the_frames_of_a_batch_is_not_written(
    exported: Path, card: Card, frames: list[np.ndarray], tmp_path: Path
) -> None:
    model = onnx.load(str(exported))
    last = next(node for node in model.graph.node if card.output.name in node.output)
    last.output[0] = "own"
    mixed = [
        onnx.helper.make_node("ReduceMean", ["own"], ["mean"], axes=[0], keepdims=1),
        onnx.helper.make_node("Max", ["own", "mean"], [card.output.name]),
    ]
    model.graph.node.extend(mixed)
    onnx.save(model, str(tmp_path / "mixed.onnx"))
    with pytest.raises(UserError, match="8 frames at once and one by one differ by"):
        convert(tmp_path / "mixed.onnx", card, frames[:2], "uint8", tmp_path / "x.onnx", 0)
    assert [path.name for path in tmp_path.iterdir()] == ["mixed.onnx"]


@pytest.mark.parametrize("path", sorted(MODEL_REPOSITORY.glob("*/onnx/*.onnx")), ids=str)
def test_included_graphs_give_the_same_output_for_a_batch_and_for_single_frames(
    path: Path, frames: list[np.ndarray]
) -> None:
    model = OnnxInference(path)
    model.close()
    size = model.card.input.height, model.card.input.width
    tensors = [frame_to_tensor(frame, *size) for frame in frames]
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [model.card.output.name], model.card.input.name
    at_once = session.run(names[0], {names[1]: np.concatenate(tensors)})[0]
    one_by_one = [session.run(names[0], {names[1]: tensor})[0] for tensor in tensors]
    assert at_once.shape == (8, 1, *size)
    assert np.abs(at_once - np.concatenate(one_by_one)).mean() <= BATCH_TOLERANCE


def test_export_records_scores_of_both_precisions(xpnet, discs: Path, tmp_path: Path) -> None:
    output = tmp_path / "lite8.onnx"
    result = xpnet("export", WEIGHTS, "--size", 32, "--output", output, "--precision", "uint8",
                   "--calibration", discs, "--score", f"discs={discs}:val")  # fmt: skip
    assert result.returncode == 0, result.stderr
    report = json.loads(output.with_suffix(".report.json").read_text())
    assert report["frames"] == 8
    scores = report["scores"]["discs"]
    assert scores["fp32"]["frames"] == scores["uint8"]["frames"] == 4
    assert f"discs: Dice {scores['uint8']['dice']:.4f}, FP32" in result.stdout
    assert (report["model"], report["height"]) == ("xpnet_lite", 32)


def test_several_precisions_are_exported_in_one_run(
    discs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call = ["export", str(WEIGHTS), "--size", "32", "--calibration", str(discs)]
    call += ["--score", f"discs={discs}:val", "--output", str(tmp_path / "all"), "--precision"]
    assert main([*call, "fp16", "int8"]) == 2
    (tmp_path / "all").mkdir()
    assert main([*call, "int8", "int8"]) == 2
    assert main([*call, "fp32", "int8"]) == 2
    call[1] = str(WEIGHTS.with_name("student.safetensors"))
    assert main([*call, "int8", "uint8"]) == 2
    for line, said in zip(
        capsys.readouterr().err.splitlines(),
        (
            "all: no such folder",
            "int8 int8: one is named twice",
            "--precision fp32: expected some of fp32, fp16",
            "student has other forms on a GPU than on a CPU",
        ),
        strict=True,
    ):
        assert said in line
    assert list((tmp_path / "all").iterdir()) == []
    call[1] = str(WEIGHTS)
    assert main([*call, "fp16", "int8"]) == 0
    assert {path.name for path in (tmp_path / "all").iterdir()} == {
        f"{precision}.{kind}" for precision in ("fp16", "int8") for kind in ("onnx", "report.json")
    }
    for precision in ("fp16", "int8"):
        report = json.loads((tmp_path / "all" / f"{precision}.report.json").read_text())
        assert set(report["scores"]["discs"]) == {"fp32", precision}


def test_graph_whose_output_is_not_finite_is_not_written(
    exported: Path, card: Card, frames: list[np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    def overflowing(source: Path) -> onnx.ModelProto:
        model = onnx.load(str(source))
        for weight in model.graph.initializer:
            values = onnx.numpy_helper.to_array(weight)
            if values.dtype == np.float32:
                weight.CopyFrom(onnx.numpy_helper.from_array(values * np.nan, weight.name))
        return model

    monkeypatch.setattr("training.export.precision._half", overflowing)
    path = exported.with_name("nan.onnx")
    with pytest.raises(UserError, match=r"nan\.onnx: not written: the output of the fp16 graph"):
        convert(exported, card, frames[:2], "fp16", path)
    assert not path.exists()
