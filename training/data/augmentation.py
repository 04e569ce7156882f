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

from training.data import augmentation_ranges as ranges
from xpnet.frames import Frame, Mask


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
            A.OneOf(
                [
                    A.MotionBlur(blur_limit=ranges.MOTION_BLUR_SIZE),
                    A.GaussianBlur(blur_limit=(3, 5)),
                ],
                p=ranges.BLUR_PROBABILITY,
            ),
            A.GaussNoise(std_range=ranges.NOISE_STD, p=ranges.NOISE_PROBABILITY),
            SpecularSpots(p=ranges.SPOTS_PROBABILITY),
            Interlacing(p=ranges.INTERLACING_PROBABILITY),
            DarkBorder(p=ranges.BORDER_PROBABILITY),
            A.ImageCompression(quality_range=ranges.JPEG_QUALITY, p=ranges.COMPRESSION_PROBABILITY),
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
        return {
            "shift": self.py_random.choice((-1, 1))
            * self.py_random.uniform(*ranges.INTERLACING_SHIFT)
        }

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
            (
                *(draw(*ranges.SPOT_POSITION) for _ in range(2)),
                *(draw(*ranges.SPOT_HALF_AXIS) for _ in range(2)),
                draw(0, 180),
            )
            for _ in range(self.py_random.randint(*ranges.SPOT_COUNT))
        ]
        return {"spots": spots}

    def apply(self, img: Frame, spots: list[tuple[float, ...]], **params: Any) -> Frame:
        """Return the frame (H x W x 3, uint8) with the spots drawn on lit mucosa."""
        height, width = img.shape[:2]
        glare: Any = np.zeros((height, width), np.float32)
        for x, y, a, b, angle in spots:
            centre = (round(x * width), round(y * height))
            if img[centre[1], centre[0]].mean() < ranges.MIN_LIT_BRIGHTNESS:
                continue  # a dark place reflects no light
            axes = (max(1, round(a * width)), max(1, round(b * width)))
            cv2.ellipse(glare, centre, axes, angle, 0, 360, (1.0,), -1)
        glare = cv2.GaussianBlur(glare, (0, 0), max(0.5, width / 250))[:, :, None]
        return (img * (1 - glare) + 255 * glare).astype(np.uint8)


class DarkBorder(A.DualTransform):
    """Black border of an endoscope's picture: only a disc or an octagon is visible."""

    def get_params(self) -> dict[str, Any]:
        """Draw the radius, relative to half the diagonal, and the shape."""
        return {
            "radius": self.py_random.uniform(*ranges.BORDER_RADIUS),
            "disc": self.py_random.random() < 0.5,
        }

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
    factor = ranges.COLOUR_FACTOR
    return [
        A.HorizontalFlip(p=ranges.FLIP_PROBABILITY),
        A.VerticalFlip(p=ranges.FLIP_PROBABILITY),
        A.RandomRotate90(p=ranges.QUARTER_TURN_PROBABILITY),
        A.Affine(
            rotate=ranges.ROTATION_DEGREES,
            scale=ranges.SCALE,
            translate_percent=ranges.SHIFT,
            p=ranges.AFFINE_PROBABILITY,
        ),
        A.Perspective(scale=ranges.PERSPECTIVE, p=ranges.PERSPECTIVE_PROBABILITY),
        A.ColorJitter(
            brightness=factor,
            contrast=factor,
            saturation=factor,
            hue=ranges.HUE_SHIFT,
            p=ranges.COLOUR_PROBABILITY,
        ),
    ]
