"""Losses: DV of the paper (equation 1), and those of the other methods, built from MONAI's.

Logits and masks are N x 1 x H x W, float32, masks in [0, 1]; every loss is a scalar.
"""

from __future__ import annotations

from collections.abc import Callable

from monai.losses import DiceLoss, PatchAdversarialLoss, TverskyLoss
from torch import Tensor
from torch.nn import functional as F

SMOOTH = 1.0
"""Added to numerators and denominators: an empty prediction for an empty mask has loss 0."""

# Per frame, then averaged over the batch. Tversky (Salehi et al., 2017): alpha weighs false
# positives, beta false negatives; a missed polyp is the more serious error.
_dice = DiceLoss(sigmoid=True, smooth_nr=SMOOTH, smooth_dr=SMOOTH)
_tversky = TverskyLoss(sigmoid=True, alpha=0.3, beta=0.7, smooth_nr=SMOOTH, smooth_dr=SMOOTH)
# Least squares of the raw scores (Mao et al., 2017), as in the paper's equations 2 and 3.
_adversarial = PatchAdversarialLoss(criterion="least_squares", no_activation_leastsq=True)


def dv_loss(logits: Tensor, mask: Tensor) -> Tensor:
    """Return DV, soft Dice plus Tversky loss (the paper's equation 1), in [0, 2]."""
    _check_shapes(logits, mask)
    return _dice(logits, mask) + _tversky(logits, mask)


def bce_dice_loss(logits: Tensor, mask: Tensor) -> Tensor:
    """Return binary cross-entropy plus soft Dice loss; pretrained encoders train well with it."""
    _check_shapes(logits, mask)
    return F.binary_cross_entropy_with_logits(logits, mask) + _dice(logits, mask)


def generator_loss(scores: Tensor) -> Tensor:
    """Return the squared distance of the discriminator's scores (any shape) from 1, 'real'."""
    return _adversarial(scores, target_is_real=True, for_discriminator=False)


def discriminator_loss(real: Tensor, fake: Tensor) -> Tensor:
    """Return the squared distances of real scores from 1 and fake ones from 0 (equation 3)."""
    return _adversarial(real, target_is_real=True, for_discriminator=True) + _adversarial(
        fake, target_is_real=False, for_discriminator=True
    )


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
