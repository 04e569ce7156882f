"""Augmentation as in the paper (section 3.1.1): rotation, flips, perspective, light."""

from __future__ import annotations

import os

# Otherwise albumentations asks a server for its newest version on import: nothing here calls home.
os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"

import albumentations as A


def paper_augmentation() -> A.Compose:
    """Acts on `image` (H x W x 3, uint8, RGB) and `mask` (H x W, 0 or 1) alike.

    What a rotation or a perspective uncovers turns black, as the dark border of a scope's
    picture is. Scaling is ours: polyps come at every distance from the lens.
    """
    return A.Compose(
        [
            A.HorizontalFlip(p=0.5),
            A.VerticalFlip(p=0.5),
            A.RandomRotate90(p=0.5),
            A.Affine(rotate=(-30, 30), scale=(0.75, 1.35), translate_percent=(-0.06, 0.06), p=0.8),
            A.Perspective(scale=(0.02, 0.08), p=0.3),
            A.ColorJitter(
                brightness=(0.75, 1.25),
                contrast=(0.75, 1.25),
                saturation=(0.75, 1.25),
                hue=(-0.04, 0.04),
                p=0.8,
            ),
        ]
    )
