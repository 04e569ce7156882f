"""Networks: sizes of the paper's Table 1, accepted and rejected inputs."""

from __future__ import annotations

import pytest
import torch

from training.bench.layer_counts import network_table
from training.models.networks import TAPS, student
from training.models.zoo import NETWORKS


@pytest.mark.parametrize(
    ("name", "parameters", "giga_multiply_adds"),
    [("unet", 7_763_041, 48.28), ("teacher", 7_774_373, 51.23), ("student", 1_839_333, 12.11)],
)
def test_parameters_and_multiply_adds(
    name: str, parameters: int, giga_multiply_adds: float
) -> None:
    row = network_table(512)[name]
    assert row["parameters"] == parameters
    assert round(row["multiply_adds"] / 1e9, 2) == giga_multiply_adds


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize(("height", "width"), [(16, 16), (48, 80), (64, 64)])
def test_any_size_divisible_by_16(name: str, height: int, width: int) -> None:
    torch.manual_seed(0)
    network = NETWORKS[name]().eval()
    with torch.inference_mode():
        probabilities = network(torch.rand(2, 3, height, width))
    assert probabilities.shape == (2, 1, height, width)
    assert probabilities.dtype == torch.float32
    assert 0 <= probabilities.min() < probabilities.max() <= 1


@pytest.mark.parametrize("shape", [(1, 3, 40, 64), (1, 3, 64, 40), (1, 1, 64, 64), (3, 64, 64)])
def test_other_inputs_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"expected \(N, 3, H, W\) with H and W divisible by 16"):
        student()(torch.zeros(shape))


def test_taps_have_the_expected_names_and_shapes() -> None:
    for name in ("unet", "teacher", "student"):
        _, taps = NETWORKS[name]().eval().logits_and_taps(torch.rand(1, 3, 64, 64))
        assert tuple(taps) == TAPS
        shapes = {name: tuple(t.shape[1:]) for name, t in taps.items()}
        assert shapes == {
            "encoder1": (32, 64, 64),
            "encoder3": (128, 16, 16),
            "decoder3": (128, 16, 16),
            "decoder1": (32, 64, 64),
        }


def test_attention_sums_to_one_over_the_scales() -> None:
    epsa = student().encoders[0][1]
    with torch.no_grad():
        for scale in epsa.scales:
            scale.weight.zero_()
            scale.weight[:, 0, scale.kernel_size[0] // 2, scale.kernel_size[1] // 2] = 1
    # Each branch passes some channel through unchanged, so with an input of ones the output is
    # the attention itself, and its four quarters are the four scales.
    out = epsa(torch.ones(1, 32, 9, 9))[0, :, 4, 4].reshape(4, 8)
    torch.testing.assert_close(out.sum(0), torch.ones(8))
