"""Scores of weights arrive in every card of the models that serve them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import onnx
import pytest

from scripts.copy_scores import WEIGHTS_DIR, copy_scores
from xpnet.card import METADATA_KEY, parse_card, read_card
from xpnet.errors import UserError
from xpnet.paths import MODEL_REPOSITORY, card_path, onnx_path

MODELS = ("xpnet_lite", "xpnet_lite_onnx")


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Return copies of the weights' card and of the models that serve them."""
    weights, repository = tmp_path / "weights", tmp_path / "models"
    weights.mkdir()
    shutil.copy(WEIGHTS_DIR / "lite.json", weights)
    for model in MODELS:
        shutil.copytree(
            MODEL_REPOSITORY / model, repository / model, ignore=shutil.ignore_patterns("onnx")
        )
    return weights, repository


def test_included_cards_are_up_to_date(tmp_path: Path) -> None:
    """On copies: it would write what is not."""
    weights, repository = tmp_path / "all weights", tmp_path / "all models"
    shutil.copytree(WEIGHTS_DIR, weights, ignore=shutil.ignore_patterns("*.safetensors"))
    shutil.copytree(MODEL_REPOSITORY, repository, ignore=shutil.ignore_patterns("onnx"))
    assert copy_scores(weights, repository) == []


def test_new_scores_reach_cards_and_graph_and_nothing_else_changes(
    folders: tuple[Path, Path],
) -> None:
    weights, repository = folders
    path = weights / "lite.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    content["scores"]["another-set"] = {"dice": 0.5}
    path.write_text(json.dumps(content), encoding="utf-8")
    graph = onnx_path(repository / "xpnet_lite_onnx")
    before = onnx.load(str(graph))
    fingerprint = read_card(card_path(repository / "xpnet_lite_onnx")).fingerprint()

    written = copy_scores(weights, repository)

    assert set(written) == {graph, *(card_path(repository / model) for model in MODELS)}
    after = onnx.load(str(graph))
    assert after.graph == before.graph
    inside = parse_card({p.key: p.value for p in after.metadata_props}[METADATA_KEY], "graph")
    for card in (inside, *(read_card(card_path(repository / model)) for model in MODELS)):
        assert card.scores["another-set"] == {"dice": 0.5}
    assert inside.fingerprint() == fingerprint  # the reference masks stay those of this model
    assert copy_scores(weights, repository) == []


def test_card_of_other_weights_is_refused(folders: tuple[Path, Path]) -> None:
    weights, repository = folders
    path = weights / "lite.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**content, "git_commit": "0" * 40}), encoding="utf-8")
    with pytest.raises(UserError, match="other weights than xpnet_lite"):
        copy_scores(weights, repository)
