"""Marked areas that are mostly specular reflexes."""

from __future__ import annotations

import json
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from tests.conftest import one_line
from training.data.readers import read_data_set
from training.evaluation.reflexes import as_markdown, count_reflexes, find_reflexes
from xpnet.card import Card, read_card
from xpnet.errors import UserError
from xpnet.inference import InferenceError
from xpnet.paths import MODEL_REPOSITORY


def test_reflexes_are_bright_and_without_colour() -> None:
    frame = np.full((64, 64, 3), (180, 80, 70), np.uint8)
    frame[10:20, 10:20] = (250, 245, 240)
    frame[40:50, 40:50] = (250, 120, 110)  # bright mucosa
    found = find_reflexes(frame)
    assert found[9:21, 9:21].all()  # with its edge
    assert found.sum() == 12 * 12


def make_set(root: Path) -> Path:
    """One frame without and one with a polyp; each has a reflex at the left."""
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True)
    for stem, polyp in (("a", False), ("b", True)):
        frame = np.full((256, 256, 3), (70, 80, 180), np.uint8)
        frame[100:140, 20:60] = 250
        mask = np.zeros((256, 256), np.uint8)
        if polyp:
            cv2.rectangle(mask, (180, 100), (220, 140), 255, -1)
        cv2.imwrite(str(root / "images" / f"{stem}.png"), frame)
        cv2.imwrite(str(root / "masks" / f"{stem}.png"), mask)
    return root


class TwoSquares:
    """Marks the reflex and the place of the polyp in every frame."""

    def __init__(self, card: Card) -> None:
        self.card = card

    def submit(self, tensor: Any) -> Future[Any]:
        height, width = tensor.shape[-2:]
        found = np.zeros((height, width), np.float32)
        found[100:140, 20:60] = found[100:140, 180:220] = 0.99
        result: Future[Any] = Future()
        result.set_result(found)
        return result


def test_areas_are_counted_by_kind(tmp_path: Path) -> None:
    samples = read_data_set(make_set(tmp_path / "set")).samples
    card = read_card(MODEL_REPOSITORY / "xpnet_lite_onnx" / "card.json")
    inference: Any = TwoSquares(card)
    found = count_reflexes(inference, samples)
    assert (found["frames"], found["frames_without_polyp"]) == (2, 1)
    assert found["empty"] == {"areas": 2, "mostly_reflex": 1}
    assert found["false"] == {"areas": 1, "mostly_reflex": 1}
    assert found["true"] == {"areas": 1, "mostly_reflex": 0}
    assert "| false, on frames without a polyp | 2 | 1 |" in as_markdown(found)


def test_failed_inference_names_the_frame(tmp_path: Path) -> None:
    class Failing(TwoSquares):
        def submit(self, tensor: Any) -> Future[Any]:
            result: Future[Any] = Future()
            result.set_exception(InferenceError("the server is gone"))
            return result

    inference: Any = Failing(read_card(MODEL_REPOSITORY / "xpnet_lite_onnx" / "card.json"))
    samples = read_data_set(make_set(tmp_path / "set")).samples
    with pytest.raises(UserError, match=r"a\.png: inference failed: the server is gone"):
        count_reflexes(inference, samples)


def test_command_writes_its_report(xpnet, tmp_path: Path) -> None:
    data, written = make_set(tmp_path / "set"), tmp_path / "o.json"
    result = xpnet("evaluate", "reflexes", "--data", data, "--json", written)
    assert result.returncode == 0, result.stderr
    report = json.loads(written.read_text())
    assert report["model"] == "xpnet_lite"
    assert result.stdout == as_markdown(report)
    wrong = xpnet("evaluate", "reflexes", "--data", data, "--model", "nosuch")
    assert "nosuch" in one_line(wrong)
