"""`xpnet evaluate` on real frames, with the model that is served."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.conftest import ROOT, one_line
from xpnet.card import read_card
from xpnet.frames import frame_to_tensor, probabilities_to_mask
from xpnet.inference import OnnxInference
from xpnet.triton.server import REPOSITORY

ONNX = REPOSITORY / "xpnet_onnx" / "1" / "model.onnx"
WEIGHTS_CARD = ROOT / "training" / "weights" / "student.json"


@pytest.fixture(scope="module")
def data(frame_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Real frames with the model's own masks as truth, so that the right score is known: 1."""
    root = tmp_path_factory.mktemp("own")
    (root / "masks").mkdir()
    inference = OnnxInference(ONNX)
    card = inference.card
    for path in sorted(frame_folder.iterdir())[:4]:
        frame = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
        tensor = frame_to_tensor(frame, card.input.height, card.input.width)
        probabilities = inference.submit(tensor).result()
        height, width = frame.shape[:2]
        mask = probabilities_to_mask(probabilities, height, width, card.threshold)
        cv2.imwrite(str(root / "masks" / path.name), mask * 255)
    inference.close()
    cv2.imwrite(str(root / "masks" / "lonely.png"), np.zeros((8, 8), np.uint8))
    return root


def test_own_masks_score_one_and_the_lonely_are_listed(
    xpnet, data: Path, frame_folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "scores.json"
    result = xpnet("evaluate", "--images", frame_folder, "--masks", data / "masks", "--json", out)
    assert result.returncode == 0, result.stderr
    scores = json.loads(out.read_text())
    assert scores["frames"] == 4
    assert scores["dice"] == scores["iou"] == scores["miou"] == scores["dice_total"] == 1
    assert scores["without_image"] == ["lonely"]
    assert len(scores["without_mask"]) == 4
    assert "1 masks without an image: lonely" in result.stdout


def test_wrong_masks_score_less(xpnet, data: Path, frame_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "masks").mkdir()
    for path in data.glob("masks/0*.png"):
        inverse = 255 - cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        cv2.imwrite(str(tmp_path / "masks" / path.name), inverse)
    out = tmp_path / "scores.json"
    xpnet("evaluate", "--images", frame_folder, "--masks", tmp_path / "masks", "--json", out)
    assert json.loads(out.read_text())["dice"] == 0


def test_scores_are_recorded_in_the_card_of_these_weights_only(
    xpnet, data: Path, frame_folder: Path, tmp_path: Path
) -> None:
    card = read_card(REPOSITORY / "xpnet_onnx" / "card.json")
    ours, other = tmp_path / "ours.json", tmp_path / "other.json"
    card.write(ours)
    replace(card, git_commit="another").write(other)
    call = ("evaluate", "--images", frame_folder, "--masks", data / "masks", "--name", "own")
    assert xpnet(*call, "--card", ours).returncode == 0
    assert read_card(ours).scores["own"]["dice"] == 1
    assert read_card(ours).scores["own"]["height"] == card.input.height
    assert "is the card of other weights" in one_line(xpnet(*call, "--card", other))
    assert "model card cannot be read" in one_line(xpnet(*call, "--card", tmp_path / "no.json"))


def test_the_served_model_is_made_of_the_checked_in_weights() -> None:
    weights = read_card(WEIGHTS_CARD)
    for name in ("xpnet", "xpnet_onnx"):
        served = read_card(REPOSITORY / name / "card.json")
        assert weights.at_size(served.input.height, served.input.width) == served


def test_options_that_go_together(xpnet, data: Path, frame_folder: Path) -> None:
    call = ("evaluate", "--images", frame_folder, "--masks", data / "masks")
    assert "--card and --name go together" in one_line(xpnet(*call, "--name", "x"))
    assert "--split needs --index" in one_line(xpnet(*call, "--split", "val"))
    assert "none.onnx: no such ONNX file" in one_line(xpnet(*call, "--onnx", "none.onnx"))
