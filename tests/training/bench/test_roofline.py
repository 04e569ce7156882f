"""The roofline against values calculated by hand, and its command."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from tests.conftest import one_line
from training.bench.layer_counts import Layer, layers
from training.bench.roofline import DEVICES, Device, roofline, seconds
from training.models.networks import student, unet

SLOW = Device("slow", 1e9, 2e9, 4e9, 1e6, "made up")


def test_time_of_a_layer_is_the_larger_of_arithmetic_and_memory() -> None:
    assert seconds(Layer("x", 10**9, 10), SLOW, "fp16") == (1.0, "arithmetic")
    assert seconds(Layer("x", 10, 10**6), SLOW, "fp16") == (2.0, "memory")
    assert seconds(Layer("x", 10, 10**6), SLOW, "int8") == (1.0, "memory")


def test_convolution_counts_match_a_calculation_by_hand() -> None:
    net = torch.nn.Conv2d(3, 8, 3, padding=1, bias=False)
    (found,) = layers(net, 16, 32)
    assert found.multiply_adds == 3 * 8 * 9 * 16 * 32
    assert found.values == (3 + 8) * 16 * 32 + 3 * 8 * 9


@pytest.mark.parametrize(("make", "megabytes"), [(unet, 329), (student, 668)])
def test_activations_moved_at_512_in_fp16(make, megabytes: int) -> None:
    """The student moves twice the U-Net's bytes with a quarter of its arithmetic."""
    weights = sum(p.numel() for n, p in make().named_parameters() if p.dim() == 4)
    moved = sum(layer.values for layer in layers(make(), 512, 512)) - weights
    assert moved * 2 / 1e6 == pytest.approx(megabytes, abs=1)


def test_every_device_has_a_source_and_consistent_rates() -> None:
    for device in DEVICES:
        assert device.source
        assert device.fp32 < device.fp16 < device.int8
        assert device.int8 == pytest.approx(2 * device.fp16, rel=0.01)


def test_roofline_command_writes_table_plot_and_json(xpnet, tmp_path: Path) -> None:
    out, picture = tmp_path / "roof.json", tmp_path / "roof.svg"
    result = xpnet("bench", "roofline", "--size", 64, "--json", out, "--plot", picture)
    assert result.returncode == 0, result.stderr
    assert "Jetson Orin NX 16GB" in result.stdout
    assert "the paper's student on RTX 3090: 120 a second" in result.stdout
    found = json.loads(out.read_text())
    assert found == json.loads(json.dumps(roofline(64)))
    assert len(found["rows"]) == 5 * len(DEVICES) * 3
    assert sum(found["parts"]["H100 SXM"].values()) == pytest.approx(1)
    assert b"<svg" in picture.read_bytes()[:1000]
    assert "divisible by 16" in one_line(xpnet("bench", "roofline", "--size", 100))
    assert "--size 0: expected pixels" in one_line(xpnet("bench", "roofline", "--size", 0))
    refused = xpnet("bench", "roofline", "--plot", tmp_path / "x.gif")
    assert "x.gif: expected a name that ends in .png" in one_line(refused)
    assert refused.stdout == ""  # before anything is counted
