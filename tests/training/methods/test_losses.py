from __future__ import annotations

import pytest
import torch

from training.methods.losses import (
    bce_dice_loss,
    discriminator_loss,
    dv_loss,
    generator_loss,
    output_loss,
)

SURE = 50.0


@pytest.fixture
def mask() -> torch.Tensor:
    mask = torch.zeros(2, 1, 32, 32)
    mask[:, :, 8:24, 8:24] = 1
    return mask


def logits(mask: torch.Tensor) -> torch.Tensor:
    """Return the logits of a network that predicts `mask` with certainty."""
    return (mask * 2 - 1) * SURE


def test_loss_of_a_perfect_prediction_is_zero(mask: torch.Tensor) -> None:
    for loss in (dv_loss, bce_dice_loss, output_loss):
        assert loss(logits(mask), mask).item() == pytest.approx(0, abs=1e-6)


def test_loss_of_an_empty_prediction_of_an_empty_mask_is_zero() -> None:
    zeros = torch.zeros(1, 1, 8, 8)
    assert dv_loss(logits(zeros), zeros).item() == pytest.approx(0, abs=1e-6)


def test_loss_of_the_inverse_prediction_is_two(mask: torch.Tensor) -> None:
    assert dv_loss(logits(1 - mask), mask).item() == pytest.approx(2, abs=0.02)


def test_values_match_a_calculation_by_hand() -> None:
    """Dice 1 - (2 + 1) / (4 + 1), Tversky 1 - (1 + 1) / (1 + 0.3 + 0.7 + 1)."""
    mask = torch.tensor([1.0, 1, 0, 0]).reshape(1, 1, 2, 2)
    guess = logits(torch.tensor([1.0, 0, 1, 0]).reshape(1, 1, 2, 2))
    assert dv_loss(guess, mask).item() == pytest.approx((1 - 3 / 5) + (1 - 2 / 3))
    unsure = torch.zeros(1, 1, 2, 2)
    assert bce_dice_loss(unsure, mask).item() == pytest.approx(0.6931 + 1 - 3 / 5, abs=1e-4)


def test_missed_area_has_a_higher_loss_than_a_false_area_of_its_size(mask: torch.Tensor) -> None:
    half, double = mask.clone(), mask.clone()
    half[:, :, 8:16] = 0
    double[:, :, 0:8, 8:24] = 1
    assert dv_loss(logits(half), mask) > dv_loss(logits(double), mask)


def test_loss_weights_frames_equally_for_any_polyp_size() -> None:
    masks = torch.zeros(2, 1, 32, 32)
    masks[0, :, :2, :2] = 1
    masks[1, :, :30, :30] = 1
    missed = dv_loss(logits(torch.zeros_like(masks)), masks).item()
    assert missed == pytest.approx(2, abs=0.3)


def test_adversarial_losses_are_least_squares() -> None:
    """The paper's equations 2 and 3, by hand."""
    scores = torch.tensor([0.0, 0.5, 3.0])
    assert generator_loss(scores).item() == pytest.approx((1 + 0.25 + 4) / 3)
    real, fake = torch.tensor([1.0, -1.0]), torch.tensor([0.0, 2.0])
    assert discriminator_loss(real, fake).item() == pytest.approx(2 + 2)


def test_output_loss_is_least_at_the_teachers_probability() -> None:
    teacher = torch.full((1, 1, 4, 4), 0.7)
    same = torch.logit(teacher)
    assert output_loss(same, teacher) < output_loss(same + 1, teacher)
    assert output_loss(same, teacher) < output_loss(same - 1, teacher)


def test_shape_mismatch_is_rejected(mask: torch.Tensor) -> None:
    with pytest.raises(ValueError, match=r"expected \(2, 1, 16, 16\)"):
        dv_loss(torch.zeros(2, 1, 16, 16), mask)
