from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from tests.conftest import CLIP, ROOT
from training.export.onnx_export import card_of_graph, export_onnx, export_repository
from training.models.networks import student
from training.models.weight_files import load_network
from xpnet.card import METADATA_KEY, Card, new_card, parse_card, read_card
from xpnet.errors import UserError
from xpnet.images import sample_frames
from xpnet.serving.onnx_inference import OnnxInference

WEIGHTS = ROOT / "training" / "weights" / "student.safetensors"


@pytest.fixture
def card() -> Card:
    return new_card("xpnet", "student", 1, 64, licence="x", data=(), git_commit="x")


def test_exported_weights_agree_with_pytorch(frames: list[np.ndarray], tmp_path: Path) -> None:
    network, card = load_network(WEIGHTS)
    card = card.at_size(128, 160)
    path = tmp_path / "model.onnx"
    assert export_onnx(network, card, frames[:3], path) <= 1e-4
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    assert session.get_inputs()[0].shape == ["batch", 3, 128, 160]
    assert parse_card(session.get_modelmeta().custom_metadata_map[METADATA_KEY], "x") == replace(
        card, graph={"precision": "fp32", "forms": {}}
    )
    batch = np.random.default_rng(0).random((5, 3, 128, 160), dtype=np.float32)
    (together,) = session.run(None, {card.input.name: batch})
    assert together.shape == (5, 1, 128, 160)
    assert 0 <= together.min() < together.max() <= 1
    (single,) = session.run(None, {card.input.name: batch[3:4]})
    np.testing.assert_allclose(single, together[3:4], atol=1e-5)
    inference = OnnxInference(path)
    np.testing.assert_allclose(inference.submit(batch[3:4]).result(), single[0, 0], atol=1e-6)
    inference.close()


class TracedDifferently(torch.nn.Module):
    """An exporter's error: the graph is not the function."""

    def __init__(self) -> None:
        super().__init__()
        self.network = student()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.network(x)
        return y * 0.999 if torch.jit.is_tracing() else y


def test_onnx_file_that_differs_from_torch_is_not_written(
    frames: list[np.ndarray], tmp_path: Path, card: Card
) -> None:
    with pytest.raises(UserError, match=r"not written: ONNX and torch differ by .* at most 1e-04"):
        export_onnx(TracedDifferently().eval(), card, frames[:1], tmp_path / "m.onnx")
    assert list(tmp_path.iterdir()) == []


def test_onnx_file_with_nan_output_is_not_written(
    frames: list[np.ndarray], tmp_path: Path, card: Card
) -> None:
    network = student().eval()
    with torch.no_grad():
        network.head.bias.fill_(float("nan"))
    with pytest.raises(UserError, match="differ by nan"):
        export_onnx(network, card, frames[:1], tmp_path / "m.onnx")
    assert list(tmp_path.iterdir()) == []


def test_wrong_size_is_reported(frames: list[np.ndarray], tmp_path: Path, card: Card) -> None:
    with pytest.raises(UserError, match="divisible by 16"):
        export_onnx(student().eval(), card.at_size(100, 100), frames[:1], tmp_path / "m.onnx")


def test_frames_are_sampled_over_the_whole_clip() -> None:
    frames = sample_frames(CLIP)
    assert len(frames) == 8
    assert frames[0].shape == (404, 720, 3)
    assert not np.array_equal(frames[0], frames[7])
    with pytest.raises(UserError, match=r"none\.mp4: no frame can be read"):
        sample_frames(Path("none.mp4"))


def test_missing_and_invalid_onnx_files_are_rejected(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such ONNX file"):
        OnnxInference(tmp_path / "none.onnx")
    (tmp_path / "junk.onnx").write_bytes(b"junk")
    with pytest.raises(UserError, match=r"junk\.onnx: not a model that ONNX Runtime can load"):
        OnnxInference(tmp_path / "junk.onnx")


def test_failed_export_writes_no_part_of_the_repository(
    frames: list[np.ndarray], tmp_path: Path, card: Card
) -> None:
    network = student().eval()
    with pytest.raises(UserError, match="divisible by 16"):
        export_repository(network, card, frames[:1], tmp_path, plan_size=500)
    assert list(tmp_path.iterdir()) == []
    export_repository(network, card, frames[:1], tmp_path, plan_size=128)
    assert read_card(tmp_path / "xpnet" / "card.json") == card.at_size(128, 128)
    assert read_card(tmp_path / "xpnet_onnx" / "card.json") == card_of_graph(card, {})
    assert "dims: 128" in (tmp_path / "xpnet" / "config.pbtxt").read_text()
    assert (tmp_path / "xpnet_onnx" / "1" / "model.onnx").stat().st_size > 7_000_000
