"""Augmentation: as in the paper (section 3.1.1), and with what an endoscope adds to its picture."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

# Otherwise albumentations asks a server for its newest version on import: nothing here calls home.
os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"

import albumentations as A
import cv2
import numpy as np

from xpnet.frames import Frame, Mask

LIT = 60
"""Mean of a pixel's channels, of 255, from which it is mucosa in the light."""


def paper_augmentation() -> A.Compose:
    """Acts on `image` (H x W x 3, uint8, RGB) and `mask` (H x W, 0 or 1) alike.

    What a rotation or a perspective uncovers turns black, as the dark border of a scope's
    picture is. Scaling is ours: polyps come at every distance from the lens.
    """
    return A.Compose(_paper())


def scope_augmentation() -> A.Compose:
    """The paper's, and what a scope adds: blur, noise, compression, interlacing, spots, borders."""
    return A.Compose(
        [
            *_paper(),
            A.OneOf([A.MotionBlur(blur_limit=(3, 9)), A.GaussianBlur(blur_limit=(3, 5))], p=0.15),
            A.GaussNoise(std_range=(0.01, 0.06), p=0.15),
            SpecularSpots(p=0.2),
            Interlace(p=0.08),
            DarkBorder(p=0.2),
            A.ImageCompression(quality_range=(30, 90), p=0.2),
        ]
    )


AUGMENTATIONS: dict[str, Callable[[], A.Compose | None]] = {
    "paper": paper_augmentation,
    "scope": scope_augmentation,
    "none": lambda: None,
}


class Interlace(A.ImageOnlyTransform):
    """Odd lines from a moment later, so moved sideways: an interlaced frame in motion."""

    def get_params(self) -> dict[str, Any]:
        """The distance, in pixels, of a picture 256 wide."""
        return {"shift": self.py_random.choice((-1, 1)) * self.py_random.uniform(2, 8)}

    def apply(self, img: Frame, shift: float, **params: Any) -> Frame:
        """H x W x 3, uint8."""
        pixels = round(shift * img.shape[1] / 256)
        result = img.copy()
        result[1::2] = np.roll(img, pixels, axis=1)[1::2]
        return result


class SpecularSpots(A.ImageOnlyTransform):
    """White reflections of the scope's lamp on wet mucosa: small ellipses with soft edges."""

    def get_params(self) -> dict[str, Any]:
        """Places, half axes and angles, relative to the picture."""
        draw = self.py_random.uniform
        spots = [
            (draw(0.1, 0.9), draw(0.1, 0.9), draw(0.003, 0.02), draw(0.003, 0.02), draw(0, 180))
            for _ in range(self.py_random.randint(2, 12))
        ]
        return {"spots": spots}

    def apply(self, img: Frame, spots: list[tuple[float, ...]], **params: Any) -> Frame:
        """H x W x 3, uint8."""
        height, width = img.shape[:2]
        glare: Any = np.zeros((height, width), np.float32)
        for x, y, a, b, angle in spots:
            centre = (round(x * width), round(y * height))
            if img[centre[1], centre[0]].mean() < LIT:
                continue  # nothing there to reflect the lamp
            axes = (max(1, round(a * width)), max(1, round(b * width)))
            cv2.ellipse(glare, centre, axes, angle, 0, 360, (1.0,), -1)
        glare = cv2.GaussianBlur(glare, (0, 0), max(0.5, width / 250))[:, :, None]
        return (img * (1 - glare) + 255 * glare).astype(np.uint8)


class DarkBorder(A.DualTransform):
    """The black surround of a scope's picture: outside a disc or an octagon nothing is seen."""

    def get_params(self) -> dict[str, Any]:
        """Radius relative to half the diagonal, and the shape."""
        return {"radius": self.py_random.uniform(0.72, 0.95), "disc": self.py_random.random() < 0.5}

    def apply(self, img: Frame, radius: float, disc: bool, **params: Any) -> Frame:
        """H x W x 3, uint8."""
        return img * _seen(img.shape[0], img.shape[1], radius, disc)[:, :, None]

    def apply_to_mask(self, mask: Mask, radius: float, disc: bool, **params: Any) -> Mask:
        """H x W, 0 or 1: a polyp that is not seen is not there."""
        return mask * _seen(mask.shape[0], mask.shape[1], radius, disc)


def _seen(height: int, width: int, radius: float, disc: bool) -> np.ndarray:
    y, x = np.ogrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    if disc:
        return (np.sqrt((x**2 + y**2) / 2) <= radius).astype(np.uint8)
    return ((abs(x) + abs(y)) / 2 <= radius).astype(np.uint8)


def _paper() -> list[A.BasicTransform]:
    return [
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
