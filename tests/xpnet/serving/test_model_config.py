"""The checked-in model repository: parsed as the server does, and equal to its cards."""

from __future__ import annotations

import json

import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2 as proto

from training.export.layer_forms import included_forms
from xpnet.card import METADATA_KEY, parse_card, read_card
from xpnet.errors import UserError
from xpnet.paths import MODEL_REPOSITORY
from xpnet.serving.model_config import DEFAULT_MODEL, frame_config, onnx_config, plan_config
from xpnet.serving.triton_server import servable_models
from xpnet.tensorrt.engine_builder import read_onnx_card
from xpnet.tensorrt.plan_candidates import candidate_path

NETWORKS = ("xpnet", "xpnet_onnx", "xpnet_lite", "xpnet_lite_onnx")
MODELS = (*NETWORKS, "xpnet_frame")


def config(name: str) -> proto.ModelConfig:
    text = (MODEL_REPOSITORY / name / "config.pbtxt").read_text(encoding="utf-8")
    return text_format.Parse(text, proto.ModelConfig())


def test_repository_holds_these_models() -> None:
    assert sorted(p.parent.name for p in MODEL_REPOSITORY.glob("*/config.pbtxt")) == sorted(MODELS)


@pytest.mark.parametrize("name", MODELS)
def test_config_parses_and_carries_its_folders_name(name: str) -> None:
    assert config(name).name == name


def test_checked_in_configs_are_up_to_date() -> None:
    made = {"xpnet_frame": frame_config(DEFAULT_MODEL)}
    for name in NETWORKS:
        card = read_card(MODEL_REPOSITORY / name / "card.json")
        made[name] = onnx_config(card) if name.endswith("_onnx") else plan_config(card)
    for name, text in made.items():
        assert (MODEL_REPOSITORY / name / "config.pbtxt").read_text(encoding="utf-8") == text


@pytest.mark.parametrize("name", NETWORKS)
def test_tensors_of_the_config_match_the_card(name: str) -> None:
    card, found = read_card(MODEL_REPOSITORY / name / "card.json"), config(name)
    assert [(t.name, list(t.dims), t.data_type) for t in (*found.input, *found.output)] == [
        (card.input.name, list(card.input.shape[1:]), proto.TYPE_FP32),
        (card.output.name, list(card.output.shape[1:]), proto.TYPE_FP32),
    ]
    assert found.max_batch_size == 8


def test_plan_is_a_tensorrt_plan_and_onnx_is_onnxruntime() -> None:
    for name in ("xpnet", "xpnet_lite"):
        assert config(name).platform == "tensorrt_plan"
        assert config(name).optimization.cuda.graphs
        assert config(f"{name}_onnx").backend == "onnxruntime"
    assert config("xpnet_frame").backend == "python"


@pytest.mark.parametrize("name", ["xpnet_onnx", "xpnet_lite_onnx"])
def test_onnx_file_carries_the_card_beside_it(name: str) -> None:
    import onnx

    model = onnx.load(str(MODEL_REPOSITORY / name / "1" / "model.onnx"))
    inside = {p.key: p.value for p in model.metadata_props}[METADATA_KEY]
    assert parse_card(inside, "onnx") == read_card(MODEL_REPOSITORY / name / "card.json")


@pytest.mark.parametrize("name", ["xpnet", "xpnet_lite"])
@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_reduced_precision_graphs_match_the_card_and_keep_the_scores(
    name: str, precision: str
) -> None:
    path = candidate_path(MODEL_REPOSITORY / name, precision)
    made, served = read_onnx_card(path), read_card(MODEL_REPOSITORY / name / "card.json")
    assert (made.name, made.input, made.output) == (served.name, served.input, served.output)
    assert (made.threshold, made.training) == (served.threshold, served.training)
    assert made.graph["forms"] == included_forms(made.network, precision)
    assert made.graph["precision"] == precision
    report = json.loads(path.with_suffix(".report.json").read_text(encoding="utf-8"))
    assert report["left_out"] == made.graph["left_out"]
    assert made.scores == {}  # the scores of FP32 are not its own
    scores = report["scores"]["kvasir-seg"]
    assert scores["fp32"]["frames"] == scores[precision]["frames"] == 1000
    limit = {"fp16": 0.002, "int8": 0.01}[precision]
    assert scores[precision]["dice"] >= scores["fp32"]["dice"] - limit


@pytest.mark.parametrize("name", NETWORKS)
def test_card_has_the_scores_that_its_readers_need(name: str) -> None:
    card = read_card(MODEL_REPOSITORY / name / "card.json")
    for name in ("polypgen-val", "polypgen-c6", "kvasir-seg"):
        score = card.scores[name]
        assert score["height"] == card.input.height
        assert 0 < score["iou"] <= score["dice"] < 1
        assert score["frames"] > 50


def test_missing_models_are_reported() -> None:
    with pytest.raises(UserError, match="no model 'nosuch', found: xpnet, xpnet_frame, xpnet_lite"):
        servable_models(MODEL_REPOSITORY, ("nosuch",))
    for name in ("xpnet", "xpnet_lite"):
        with pytest.raises(UserError, match=r"model\.plan is missing: a TensorRT plan is built on"):
            servable_models(MODEL_REPOSITORY, (name,))


def test_missing_repository_is_reported(tmp_path) -> None:
    with pytest.raises(UserError, match="contains no model"):
        servable_models(tmp_path, ())
    with pytest.raises(UserError, match="no such model repository"):
        servable_models(tmp_path / "none", ())
