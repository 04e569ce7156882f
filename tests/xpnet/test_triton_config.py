"""The checked-in model repository: parses as the server parses it, and says what its cards say."""

from __future__ import annotations

import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2 as proto

from xpnet.card import METADATA_KEY, parse_card, read_card
from xpnet.errors import UserError
from xpnet.triton.config import frame_config, onnx_config, plan_config
from xpnet.triton.server import REPOSITORY, servable_models

MODELS = ("xpnet", "xpnet_onnx", "xpnet_frame")


def config(name: str) -> proto.ModelConfig:
    text = (REPOSITORY / name / "config.pbtxt").read_text(encoding="utf-8")
    return text_format.Parse(text, proto.ModelConfig())


def test_repository_holds_these_models() -> None:
    assert sorted(p.parent.name for p in REPOSITORY.glob("*/config.pbtxt")) == sorted(MODELS)


@pytest.mark.parametrize("name", MODELS)
def test_config_parses_and_carries_its_folders_name(name: str) -> None:
    assert config(name).name == name


def test_checked_in_configs_are_the_generators() -> None:
    made = {
        "xpnet": plan_config(read_card(REPOSITORY / "xpnet" / "card.json")),
        "xpnet_onnx": onnx_config(read_card(REPOSITORY / "xpnet_onnx" / "card.json")),
        "xpnet_frame": frame_config("xpnet_onnx"),
    }
    for name, text in made.items():
        assert (REPOSITORY / name / "config.pbtxt").read_text(encoding="utf-8") == text


@pytest.mark.parametrize("name", ["xpnet", "xpnet_onnx"])
def test_tensors_are_the_cards(name: str) -> None:
    card, found = read_card(REPOSITORY / name / "card.json"), config(name)
    assert [(t.name, list(t.dims), t.data_type) for t in (*found.input, *found.output)] == [
        (card.input.name, list(card.input.shape[1:]), proto.TYPE_FP32),
        (card.output.name, list(card.output.shape[1:]), proto.TYPE_FP32),
    ]
    assert found.max_batch_size == 8


def test_plan_is_a_tensorrt_plan_and_onnx_is_onnxruntime() -> None:
    assert config("xpnet").platform == "tensorrt_plan"
    assert config("xpnet").optimization.cuda.graphs
    assert config("xpnet_onnx").backend == "onnxruntime"
    assert config("xpnet_frame").backend == "python"


def test_onnx_file_carries_the_card_beside_it() -> None:
    import onnx

    model = onnx.load(str(REPOSITORY / "xpnet_onnx" / "1" / "model.onnx"))
    inside = {p.key: p.value for p in model.metadata_props}[METADATA_KEY]
    assert parse_card(inside, "onnx") == read_card(REPOSITORY / "xpnet_onnx" / "card.json")


def test_card_has_the_scores_that_its_readers_need() -> None:
    card = read_card(REPOSITORY / "xpnet_onnx" / "card.json")
    for name in ("polypgen-val", "polypgen-c6", "kvasir-seg"):
        score = card.scores[name]
        assert score["height"] == card.input.height
        assert 0 < score["iou"] <= score["dice"] < 1
        assert score["frames"] > 50


def test_missing_models_are_named() -> None:
    with pytest.raises(UserError, match="no model 'nosuch', only: xpnet, xpnet_frame, xpnet_onnx"):
        servable_models(REPOSITORY, ("nosuch",))
    with pytest.raises(UserError, match=r"model\.plan is missing: a TensorRT plan is built on the"):
        servable_models(REPOSITORY, ("xpnet",))


def test_missing_repository_is_named(tmp_path) -> None:
    with pytest.raises(UserError, match="holds no model"):
        servable_models(tmp_path, ())
    with pytest.raises(UserError, match="no such model repository"):
        servable_models(tmp_path / "none", ())
