"""Every layer form gives the same output as the network as trained."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from tests.conftest import ROOT, one_line
from training.bench.roofline import roofline
from training.export.layer_forms import (
    FORMS,
    PAIR_FORMS,
    SCALE_FORMS,
    apply_forms,
    find_parts,
    included_forms,
)
from training.models.networks import student, teacher
from training.models.zoo import NETWORKS
from xpnet.serving.cpu_runtimes import best_runtime


def random_network(name: str) -> torch.nn.Module:
    """Return a network whose batch norms are not the identity."""
    torch.manual_seed(1)
    network = NETWORKS[name]()
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.running_mean.uniform_(-0.2, 0.2)
                module.running_var.uniform_(0.5, 2)
                module.weight.uniform_(0.5, 1.5)
                module.bias.uniform_(-0.2, 0.2)
    return network.eval()


def difference(network: torch.nn.Module, rewritten: torch.nn.Module) -> float:
    frames = torch.rand(2, 3, 48, 64)
    with torch.inference_mode():
        ours, theirs = (n.logits_and_taps(frames)[0] for n in (network, rewritten))
    scale = float(theirs.abs().max())
    return float((ours - theirs).abs().max()) / scale


@pytest.mark.parametrize("name", NETWORKS)
def test_folded_batch_norms_keep_the_output(name: str) -> None:
    network = random_network(name)
    folded = apply_forms(network, {})
    assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in folded.modules())
    assert any(isinstance(m, torch.nn.BatchNorm2d) for m in network.modules())
    assert difference(network, folded) < 1e-5


@pytest.mark.parametrize("pair", PAIR_FORMS)
@pytest.mark.parametrize("scale", SCALE_FORMS)
def test_every_layer_form_keeps_the_output(pair: str, scale: str) -> None:
    network = random_network("student")
    forms = {
        name: pair if allowed == PAIR_FORMS else scale
        for name, allowed in find_parts(network).items()
    }
    assert difference(network, apply_forms(network, forms)) < 1e-5


def test_forms_have_the_layers_of_their_names() -> None:
    network = random_network("student")
    merged = apply_forms(network, {"encoders.1.0": "merge"})
    assert isinstance(merged.encoders[1][0][1], torch.nn.Identity)
    assert merged.encoders[1][0][0].kernel_size == (1, 5)
    dense = apply_forms(network, {"encoders.1.0": "dense", "encoders.0.1.scales.3": "dense"})
    assert dense.encoders[1][0][1].groups == dense.encoders[0][1].scales[3].groups == 1
    wide = apply_forms(network, {"encoders.0.1.scales.3": "depthwise"}).encoders[0][1].scales[3]
    assert (wide[0].groups, wide[0].kernel_size) == (32, (9, 9))


def test_number_of_replaceable_parts_of_each_network() -> None:
    assert len(find_parts(student())) == 18 + 3  # nine blocks of two pairs, three grouped branches
    assert len(find_parts(teacher())) == 3
    assert find_parts(NETWORKS["lite"]()) == {}


def test_unknown_parts_and_forms_are_rejected() -> None:
    with pytest.raises(ValueError, match="head: merge"):
        apply_forms(student(), {"head": "merge"})
    with pytest.raises(ValueError, match=r"encoders\.0\.0: depthwise: known forms"):
        apply_forms(student(), {"encoders.0.0": "depthwise"})


def test_tune_selects_the_fastest_forms_and_export_uses_them(xpnet, tmp_path: Path) -> None:
    weights = ROOT / "training" / "weights" / "student.safetensors"
    tuned = tmp_path / "forms.json"
    result = xpnet("export", "tune", weights, "--size", 64, "--output", tuned)
    assert result.returncode == 0, result.stderr
    found = json.loads(tuned.read_text())
    assert (found["height"], found["width"]) == (64, 64)
    assert found["milliseconds"].keys() == find_parts(student()).keys()
    assert found["by"].startswith(best_runtime())
    faster = found["whole"]["in these forms"] < found["whole"]["as trained"]
    assert faster or found["forms"] == {}
    for name, times in found["milliseconds"].items():
        assert not faster or times[found["forms"].get(name, "keep")] == min(times.values())
    call = ("export", weights, "--size", 64, "--output", tmp_path / "m.onnx", "--forms")
    result = xpnet(*call, tuned)
    assert result.returncode == 0, result.stderr
    other = tmp_path / "other.json"
    other.write_text(json.dumps({"forms": {"head": "merge"}}))
    assert "of another network: head: merge" in one_line(xpnet(*call, other))
    other.write_text("[]")
    assert "other.json: not a file of `xpnet export tune`" in one_line(xpnet(*call, other))


def test_tune_for_a_device_estimates_times_by_roofline(xpnet, tmp_path: Path) -> None:
    weights = ROOT / "training" / "weights" / "student.safetensors"
    counted = tmp_path / "forms.json"
    call = ("export", "tune", weights, "--size", 512, "--output", counted, "--device")
    result = xpnet(*call, "RTX 3070 Laptop")
    assert result.returncode == 0, result.stderr
    found = json.loads(counted.read_text())
    assert found["by"] == "roofline, fp16: counted, not measured"
    # A 1x1 and the (1, 5) behind it as one: two of the four maps between them are not moved.
    assert found["forms"]["decoders.3.0"] == "merge"
    assert found["whole"]["in these forms"] < 0.8 * found["whole"]["as trained"]
    least = {r["device"]: r["least_ms"] for r in roofline(512)["rows"]
             if (r["network"], r["precision"]) == ("student", "fp16")}  # fmt: skip
    assert found["whole"]["as trained"] == pytest.approx(least["RTX 3070 Laptop"], rel=1e-3)
    assert "device 'GTX': expected one of RTX 3070 Laptop" in one_line(xpnet(*call, "GTX"))


@pytest.mark.parametrize("file", sorted(FORMS.glob("*.json")), ids=lambda p: p.stem)
def test_included_forms_are_valid_for_their_network(file: Path) -> None:
    network, target = file.stem.split(".")
    forms = included_forms(network, "fp16" if target == "gpu" else "fp32")
    assert forms
    assert all(form in find_parts(NETWORKS[network]())[name] for name, form in forms.items())
    assert included_forms("lite", "fp32") == {}
