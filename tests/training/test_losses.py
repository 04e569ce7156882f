from __future__ import annotations

import pytest
import torch

from training.losses import dv_loss, soft_dice_loss, tversky_loss


@pytest.fixture
def mask() -> torch.Tensor:
    mask = torch.zeros(2, 1, 32, 32)
    mask[:, :, 8:24, 8:24] = 1
    return mask


def test_perfect_prediction_costs_nothing(mask: torch.Tensor) -> None:
    assert dv_loss(mask, mask).item() == pytest.approx(0, abs=1e-6)


def test_empty_mask_and_empty_prediction_cost_nothing() -> None:
    zeros = torch.zeros(1, 1, 8, 8)
    assert dv_loss(zeros, zeros).item() == 0


def test_worst_prediction_costs_two(mask: torch.Tensor) -> None:
    assert dv_loss(1 - mask, mask).item() == pytest.approx(2, abs=0.02)


def test_values_by_hand() -> None:
    mask = torch.tensor([1.0, 1, 0, 0]).reshape(1, 1, 2, 2)
    guess = torch.tensor([1.0, 0, 1, 0]).reshape(1, 1, 2, 2)
    assert soft_dice_loss(guess, mask).item() == pytest.approx(1 - 3 / 5)
    assert tversky_loss(guess, mask).item() == pytest.approx(1 - 2 / (1 + 0.3 + 0.7 + 1))


def test_a_missed_polyp_costs_more_than_a_false_alarm_of_its_size(mask: torch.Tensor) -> None:
    half, double = mask.clone(), mask.clone()
    half[:, :, 8:16] = 0
    double[:, :, 0:8, 8:24] = 1
    assert tversky_loss(half, mask) > tversky_loss(double, mask)


def test_shapes_must_agree(mask: torch.Tensor) -> None:
    with pytest.raises(ValueError, match=r"expected \(2, 1, 16, 16\)"):
        dv_loss(torch.zeros(2, 1, 16, 16), mask)
