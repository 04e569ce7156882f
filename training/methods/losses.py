"""Losses: DV of the paper (equation 1), and those of the other methods, built from MONAI's.

Logits and masks are N x 1 x H x W, float32, masks in [0, 1]; every loss is a scalar.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from monai.losses import DiceLoss, TverskyLoss
from torch import Tensor
from torch.nn import functional as F

SMOOTH = 1.0
"""Added to numerators and denominators: an empty prediction for an empty mask has loss 0."""

# Per frame, then averaged over the batch. Tversky (Salehi et al., 2017): alpha weighs false
# positives, beta false negatives; a missed polyp is the more serious error.
_dice = DiceLoss(sigmoid=True, smooth_nr=SMOOTH, smooth_dr=SMOOTH)
_tversky = TverskyLoss(sigmoid=True, alpha=0.3, beta=0.7, smooth_nr=SMOOTH, smooth_dr=SMOOTH)


def dv_loss(logits: Tensor, mask: Tensor) -> Tensor:
    """Return DV, soft Dice plus Tversky loss (the paper's equation 1), in [0, 2]."""
    _check_shapes(logits, mask)
    return _dice(logits, mask) + _tversky(logits, mask)


def bce_dice_loss(logits: Tensor, mask: Tensor) -> Tensor:
    """Return binary cross-entropy plus soft Dice loss; pretrained encoders train well with it."""
    _check_shapes(logits, mask)
    return F.binary_cross_entropy_with_logits(logits, mask) + _dice(logits, mask)


def generator_loss(scores: Tensor) -> Tensor:
    """Return the squared distance of the discriminator's scores (any shape) from 1, 'real'.

    Least squares of the raw scores (Mao et al., 2017), as in the paper's equations 2 and 3.
    """
    return F.mse_loss(scores, torch.ones_like(scores))


def discriminator_loss(real: Tensor, fake: Tensor) -> Tensor:
    """Return the squared distances of real scores from 1 and fake ones from 0 (equation 3)."""
    return F.mse_loss(real, torch.ones_like(real)) + F.mse_loss(fake, torch.zeros_like(fake))


def discriminator_accuracy(real: Tensor, fake: Tensor) -> Tensor:
    """Return the share of frames whose mean score is on the right side of 0.5, as a scalar.

    Args:
        real: Scores of the teacher's outputs, N x 1 x H x W.
        fake: Scores of the student's outputs, N x 1 x H x W.
    """
    right = torch.cat([real.flatten(1).mean(1) > 0.5, fake.flatten(1).mean(1) < 0.5])
    return right.float().mean()


def gradient_penalty(scores: Tensor, inputs: Sequence[Tensor]) -> Tensor:
    """Return R1, the squared gradient of the real scores (Mescheder et al., ICML 2018).

    It flattens the discriminator around real inputs, so that its gradient stays useful to a
    student that it can tell from a teacher.

    Args:
        scores: Scores of real inputs, N x 1 x H x W, with a graph to `inputs`.
        inputs: Real inputs that require gradients.

    Returns:
        The mean over frames of the sum of squares; scores are averaged over the pixels, so that
        the penalty does not depend on the frame's size.
    """
    total = scores.float().flatten(1).mean(1).sum()
    gradients = torch.autograd.grad(total, inputs, create_graph=True)
    return sum((g.float().flatten(1) ** 2).sum(1) for g in gradients).mean()  # type: ignore[union-attr]


def output_loss(logits: Tensor, teacher: Tensor) -> Tensor:
    """Return the cross-entropy to the teacher's probability map (Hinton et al., 2015)."""
    _check_shapes(logits, teacher)
    return F.binary_cross_entropy_with_logits(logits, teacher)


LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"dv": dv_loss, "bce_dice": bce_dice_loss}


def _check_shapes(logits: Tensor, mask: Tensor) -> None:
    if logits.shape != mask.shape:
        raise ValueError(
            f"mask of shape {tuple(mask.shape)}: expected {tuple(logits.shape)}, "
            "the shape of the logits"
        )
