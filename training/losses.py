"""The segmentation loss of the paper: DV = soft Dice loss + Tversky loss (equation 1)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

SMOOTH = 1.0
"""Added to numerators and denominators: an empty mask met by an empty prediction costs nothing."""


def soft_dice_loss(probabilities: Tensor, mask: Tensor) -> Tensor:
    """1 - Dice of each frame, averaged over the batch; N x 1 x H x W both, in [0, 1]."""
    intersection, predicted, true = _sums(probabilities, mask)
    return (1 - (2 * intersection + SMOOTH) / (predicted + true + SMOOTH)).mean()


def tversky_loss(
    probabilities: Tensor, mask: Tensor, alpha: float = 0.3, beta: float = 0.7
) -> Tensor:
    """1 - Tversky index of each frame, averaged over the batch (Salehi et al., 2017).

    `alpha` weighs false positives, `beta` false negatives: a missed polyp is the dearer error.
    """
    hit, predicted, true = _sums(probabilities, mask)
    index = (hit + SMOOTH) / (hit + alpha * (predicted - hit) + beta * (true - hit) + SMOOTH)
    return (1 - index).mean()


def dv_loss(probabilities: Tensor, mask: Tensor) -> Tensor:
    """DV of the paper's equation 1: both N x 1 x H x W, float, in [0, 1]; a scalar in [0, 2]."""
    return soft_dice_loss(probabilities, mask) + tversky_loss(probabilities, mask)


def _sums(probabilities: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Per frame: sum of the product, of the probabilities, of the mask."""
    if probabilities.shape != mask.shape:
        raise ValueError(
            f"mask of shape {tuple(mask.shape)}: expected {tuple(probabilities.shape)}, "
            "the shape of the probabilities"
        )
    p, t = torch.flatten(probabilities, 1), torch.flatten(mask, 1)
    return (p * t).sum(1), p.sum(1), t.sum(1)


def bce_dice_loss(logits: Tensor, mask: Tensor) -> Tensor:
    """Binary cross-entropy plus soft Dice loss, of logits: what a pretrained encoder learns by."""
    cross_entropy = F.binary_cross_entropy_with_logits(logits, mask)
    return cross_entropy + soft_dice_loss(torch.sigmoid(logits), mask)


LOSSES = {
    "dv": lambda logits, mask: dv_loss(torch.sigmoid(logits), mask),
    "bce_dice": bce_dice_loss,
}
