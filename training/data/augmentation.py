"""Augmentation: the paper's (section 3.1.1), and the artefacts of an endoscope's picture."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

# Without this, albumentations connects to a server on import to look for a newer version.
os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"

import albumentations as A
import cv2
import numpy as np

from xpnet.frames import Frame, Mask

MIN_LIT_BRIGHTNESS = 60
"""Mean of a pixel's channels, in [0, 255], above which the pixel shows lit mucosa."""


def paper_augmentation() -> A.Compose:
    """Return the paper's augmentation, plus a change of scale.

    The transform takes `image` (H x W x 3, uint8, RGB) and `mask` (H x W, 0 or 1) and applies the
    same geometry to both. Pixels uncovered by a rotation or a perspective are black, like the dark
    border of an endoscope's picture. The change of scale is not in the paper: polyps appear at
    every distance from the lens.
    """
    return A.Compose(_paper_transforms())


def scope_augmentation() -> A.Compose:
    """Return the paper's augmentation plus blur, noise, spots, interlacing, border, compression."""
    return A.Compose(
        [
            *_paper_transforms(),
            A.OneOf([A.MotionBlur(blur_limit=(3, 9)), A.GaussianBlur(blur_limit=(3, 5))], p=0.15),
            A.GaussNoise(std_range=(0.01, 0.06), p=0.15),
            SpecularSpots(p=0.2),
            Interlacing(p=0.08),
            DarkBorder(p=0.2),
            A.ImageCompression(quality_range=(30, 90), p=0.2),
        ]
    )


AUGMENTATIONS: dict[str, Callable[[], A.Compose | None]] = {
    "paper": paper_augmentation,
    "scope": scope_augmentation,
    "none": lambda: None,
}


class Interlacing(A.ImageOnlyTransform):
    """Interlaced frame of a moving scene: the odd lines are shifted sideways."""

    def get_params(self) -> dict[str, Any]:
        """Draw the shift, in pixels of a frame 256 pixels wide."""
        return {"shift": self.py_random.choice((-1, 1)) * self.py_random.uniform(2, 8)}

    def apply(self, img: Frame, shift: float, **params: Any) -> Frame:
        """Return the frame (H x W x 3, uint8) with its odd lines shifted."""
        pixels = round(shift * img.shape[1] / 256)
        result = img.copy()
        result[1::2] = np.roll(img, pixels, axis=1)[1::2]
        return result


class SpecularSpots(A.ImageOnlyTransform):
    """White reflections of the lamp on wet mucosa: small ellipses with soft edges."""

    def get_params(self) -> dict[str, Any]:
        """Draw the centres, half axes (relative to the frame) and angles (degrees)."""
        draw = self.py_random.uniform
        spots = [
            (draw(0.1, 0.9), draw(0.1, 0.9), draw(0.003, 0.02), draw(0.003, 0.02), draw(0, 180))
            for _ in range(self.py_random.randint(2, 12))
        ]
        return {"spots": spots}

    def apply(self, img: Frame, spots: list[tuple[float, ...]], **params: Any) -> Frame:
        """Return the frame (H x W x 3, uint8) with the spots drawn on lit mucosa."""
        height, width = img.shape[:2]
        glare: Any = np.zeros((height, width), np.float32)
        for x, y, a, b, angle in spots:
            centre = (round(x * width), round(y * height))
            if img[centre[1], centre[0]].mean() < MIN_LIT_BRIGHTNESS:
                continue  # a dark place reflects no light
            axes = (max(1, round(a * width)), max(1, round(b * width)))
            cv2.ellipse(glare, centre, axes, angle, 0, 360, (1.0,), -1)
        glare = cv2.GaussianBlur(glare, (0, 0), max(0.5, width / 250))[:, :, None]
        return (img * (1 - glare) + 255 * glare).astype(np.uint8)


class DarkBorder(A.DualTransform):
    """Black border of an endoscope's picture: only a disc or an octagon is visible."""

    def get_params(self) -> dict[str, Any]:
        """Draw the radius, relative to half the diagonal, and the shape."""
        return {"radius": self.py_random.uniform(0.72, 0.95), "disc": self.py_random.random() < 0.5}

    def apply(self, img: Frame, radius: float, disc: bool, **params: Any) -> Frame:
        """Return the frame (H x W x 3, uint8), black outside the visible area."""
        return img * _visible_area(img.shape[0], img.shape[1], radius, disc)[:, :, None]

    def apply_to_mask(self, mask: Mask, radius: float, disc: bool, **params: Any) -> Mask:
        """Return the mask (H x W, 0 or 1), 0 outside the visible area."""
        return mask * _visible_area(mask.shape[0], mask.shape[1], radius, disc)


def _visible_area(height: int, width: int, radius: float, disc: bool) -> np.ndarray:
    y, x = np.ogrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    if disc:
        return (np.sqrt((x**2 + y**2) / 2) <= radius).astype(np.uint8)
    return ((abs(x) + abs(y)) / 2 <= radius).astype(np.uint8)


def _paper_transforms() -> list[A.BasicTransform]:
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
