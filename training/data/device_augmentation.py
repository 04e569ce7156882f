"""The augmentation of training.data.augmentation for batches on a device, without host work.

The parameters of all frames of an epoch are drawn at once; a step only indexes them. All changes of
geometry are one homography, so that a frame is resampled once. Probabilities and ranges are those
of training.data.augmentation. Different are: the order of the colour changes, which is fixed; hue,
which is turned in YIQ; the corners of a perspective, which move uniformly; and compression, which
quantises blocks as JPEG does but keeps the colours' resolution.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass, fields

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor
from torch.nn import functional as F

from training.data import augmentation_ranges as ranges

BLUR_SIZE = ranges.MOTION_BLUR_SIZE[1]
"""Height and width of the blur kernels, in pixels."""
MAX_SPOTS = ranges.SPOT_COUNT[1]
GREY = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in the brightness of a pixel (ITU-R BT.601)."""
JPEG_LUMINANCE = (
    (16, 11, 10, 16, 24, 40, 51, 61), (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56), (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77), (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101), (72, 92, 95, 98, 112, 100, 103, 99),
)  # fmt: skip
"""Quantisation of brightness in JPEG (ITU-T T.81, table K.1); used for all three channels here."""


@dataclass(frozen=True)
class AugmentationParameters:
    """Parameters of N frames; the optional ones are None without artefacts.

    Attributes:
        homography: N x 3 x 3, from positions in the result to positions in the frame, in [-1, 1].
        colour: N x 3 x 3, matrix of brightness, saturation and hue.
        contrast: N, factor of the distance from the frame's mean brightness.
        blur: N x BLUR_SIZE x BLUR_SIZE, convolution kernel.
        noise: N, standard deviation, relative to the range of values.
        spots: N x MAX_SPOTS x 5: x, y, half axes and angle; a half axis of 0 is no spot.
        interlacing: N, shift of the odd lines in pixels.
        border: N x 2: radius of the visible area (0: no border), and whether it is a disc.
        quality: N, divisor of the JPEG quantisation; 0 leaves the frame as it is.
    """

    homography: Tensor
    colour: Tensor
    contrast: Tensor
    blur: Tensor | None = None
    noise: Tensor | None = None
    spots: Tensor | None = None
    interlacing: Tensor | None = None
    border: Tensor | None = None
    quality: Tensor | None = None

    def to(self, device: torch.device) -> AugmentationParameters:
        """Return a copy on a device."""
        return self._map(lambda tensor: tensor.to(device))

    def __getitem__(self, part: slice) -> AugmentationParameters:
        """Return the parameters of some frames."""
        return self._map(lambda tensor: tensor[part])

    def _map(self, function: Callable[[Tensor], Tensor]) -> AugmentationParameters:
        mapped = {
            field.name: function(tensor)
            for field in fields(self)
            if (tensor := getattr(self, field.name)) is not None
        }
        return AugmentationParameters(**mapped)


def draw_parameters(
    random: Generator, windows: np.ndarray, size: int, with_artefacts: bool
) -> AugmentationParameters:
    """Draw the parameters of N frames.

    Args:
        random: Source of random numbers.
        windows: N x 3, centre (x, y) and half size of the part of the frame that is used, in
            [-1, 1]; (0, 0, 1) is the whole frame.
        size: Height and width of the frames in pixels.
        with_artefacts: Whether to draw the artefacts of `scope_augmentation`, too.
    """
    count = len(windows)
    homography = _window_matrices(windows) @ _draw_geometry(random, count)
    colour, contrast = _draw_colour(random, count)
    drawn = {"homography": homography, "colour": colour, "contrast": contrast}
    if with_artefacts:
        drawn |= _draw_artefacts(random, count, size)
    return AugmentationParameters(
        **{name: torch.from_numpy(value.astype(np.float32)) for name, value in drawn.items()}
    )


def augment(
    frames: Tensor, masks: Tensor, parameters: AugmentationParameters, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Augment a batch on its device.

    Args:
        frames: N x 3 x H x W uint8, RGB; H and W divisible by 8.
        masks: N x 1 x H x W uint8, 0 or 1.
        parameters: Parameters of the N frames, on the same device.
        generator: Source of the noise, on the same device.

    Returns:
        Frames in [0, 1] and masks of 0 and 1, both float32.
    """
    p = parameters
    grid = _sampling_grid(p.homography, frames.shape[-2], frames.shape[-1])
    picture = F.grid_sample(frames.float() / 255, grid, align_corners=False)
    mask = F.grid_sample(masks.float(), grid, mode="nearest", align_corners=False)
    picture = torch.einsum("nij,njhw->nihw", p.colour, picture)
    mean = _brightness(picture).mean((2, 3), keepdim=True)
    picture = (mean + (picture - mean) * p.contrast[:, None, None, None]).clamp(0, 1)
    if p.blur is not None:
        assert p.noise is not None
        assert p.spots is not None
        assert p.interlacing is not None
        assert p.border is not None
        assert p.quality is not None
        picture = _blur(picture, p.blur)
        noise = torch.randn(
            picture.shape, generator=generator, device=picture.device, dtype=picture.dtype
        )
        picture = picture + noise * p.noise[:, None, None, None]
        picture = _draw_spots(picture, p.spots)
        picture = _interlace(picture, p.interlacing)
        visible = _visible_area(p.border, frames.shape[-2], frames.shape[-1])
        picture, mask = picture * visible, mask * visible
        picture = _compress(picture.clamp(0, 1), p.quality).clamp(0, 1)
    return picture.contiguous(memory_format=torch.channels_last), mask


def _window_matrices(windows: np.ndarray) -> np.ndarray:
    matrices = np.tile(np.eye(3), (len(windows), 1, 1))
    matrices[:, 0, 0] = matrices[:, 1, 1] = windows[:, 2]
    matrices[:, :2, 2] = windows[:, :2]
    return matrices


def _draw_geometry(random: Generator, count: int) -> np.ndarray:
    """Draw homographies N x 3 x 3: flips, quarter turns, affine change and perspective."""
    turned = np.where(
        random.random(count) < ranges.QUARTER_TURN_PROBABILITY, random.integers(0, 4, count), 0
    )
    flips = np.where(random.random((count, 2)) < ranges.FLIP_PROBABILITY, -1.0, 1.0)
    is_affine = random.random(count) < ranges.AFFINE_PROBABILITY
    angle = np.where(is_affine, random.uniform(*ranges.ROTATION_DEGREES, count), 0.0)
    scale = np.where(is_affine, random.uniform(*ranges.SCALE, count), 1.0)
    # Positions are in [-1, 1], so a shift relative to the frame's size counts twice.
    shift = np.where(is_affine[:, None], 2 * random.uniform(*ranges.SHIFT, (count, 2)), 0.0)
    radians = np.deg2rad(angle + 90 * turned)
    matrices = np.zeros((count, 3, 3))
    matrices[:, 0, 0] = matrices[:, 1, 1] = np.cos(radians) / scale
    matrices[:, 1, 0] = np.sin(radians) / scale
    matrices[:, 0, 1] = -matrices[:, 1, 0]
    matrices[:, :2] *= flips[:, :, None]
    matrices[:, :2, 2] = shift
    matrices[:, 2, 2] = 1
    strength = random.uniform(*ranges.PERSPECTIVE, count)
    strength *= random.random(count) < ranges.PERSPECTIVE_PROBABILITY
    corners = np.array([[-1.0, -1], [1, -1], [1, 1], [-1, 1]])
    moved = corners + 2 * strength[:, None, None] * random.uniform(-1, 1, (count, 4, 2))
    return matrices @ _homographies(np.broadcast_to(corners, moved.shape), moved)


def _homographies(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Return the N x 3 x 3 matrices that move four points each, N x 4 x 2, to four others."""
    (x, y), (u, v) = np.moveaxis(start, 2, 0), np.moveaxis(end, 2, 0)
    zero, one = np.zeros_like(x), np.ones_like(x)
    rows = np.concatenate(
        [
            np.stack([x, y, one, zero, zero, zero, -u * x, -u * y], 2),
            np.stack([zero, zero, zero, x, y, one, -v * x, -v * y], 2),
        ],
        1,
    )
    solved = np.linalg.solve(rows, np.concatenate([u, v], 1)[:, :, None])[:, :, 0]
    return np.concatenate([solved, np.ones((len(start), 1))], 1).reshape(-1, 3, 3)


def _draw_colour(random: Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw colour matrices N x 3 x 3, and contrasts N."""
    is_changed = random.random(count) < ranges.COLOUR_PROBABILITY
    brightness, saturation, contrast = (
        np.where(is_changed, random.uniform(*ranges.COLOUR_FACTOR, count), 1.0) for _ in range(3)
    )
    hue = np.where(is_changed, random.uniform(*ranges.HUE_SHIFT, count), 0.0) * 2 * math.pi
    # In YIQ, saturation scales the two colour axes and hue turns them.
    to_yiq = np.array([GREY, (0.596, -0.274, -0.322), (0.211, -0.523, 0.312)])
    change = np.zeros((count, 3, 3))
    change[:, 0, 0] = 1
    change[:, 1, 1] = change[:, 2, 2] = saturation * np.cos(hue)
    change[:, 2, 1] = saturation * np.sin(hue)
    change[:, 1, 2] = -change[:, 2, 1]
    colour = np.linalg.inv(to_yiq) @ change @ to_yiq * brightness[:, None, None]
    return colour, contrast


def _draw_artefacts(random: Generator, count: int, size: int) -> dict[str, np.ndarray]:
    def occurs(probability: float) -> np.ndarray:
        return random.random(count) < probability

    position, half_axis = ranges.SPOT_POSITION, ranges.SPOT_HALF_AXIS
    lowest, highest = zip(position, position, half_axis, half_axis, (0, math.pi), strict=True)
    spots = random.uniform(lowest, highest, (count, MAX_SPOTS, 5))
    drawn = (
        np.arange(MAX_SPOTS) < random.integers(ranges.SPOT_COUNT[0], MAX_SPOTS + 1, count)[:, None]
    )
    spots[~(drawn & occurs(ranges.SPOTS_PROBABILITY)[:, None])] = 0
    shift = np.rint(
        random.choice((-1, 1), count)
        * random.uniform(*ranges.INTERLACING_SHIFT, count)
        * size
        / 256
    )
    border = np.stack([random.uniform(*ranges.BORDER_RADIUS, count), random.random(count) < 0.5], 1)
    border[~occurs(ranges.BORDER_PROBABILITY), 0] = 0
    quality = random.uniform(*ranges.JPEG_QUALITY, count)
    # The scale of the quantisation table for a quality, as in libjpeg.
    quantiser = np.where(quality < 50, 50 / quality, 2 - quality / 50)
    return {
        "blur": _draw_blur(random, count),
        "noise": random.uniform(*ranges.NOISE_STD, count) * occurs(ranges.NOISE_PROBABILITY),
        "spots": spots,
        "interlacing": shift * occurs(ranges.INTERLACING_PROBABILITY),
        "border": border,
        "quality": quantiser * occurs(ranges.COMPRESSION_PROBABILITY),
    }


def _draw_blur(random: Generator, count: int) -> np.ndarray:
    """Draw kernels: for some frames a line (motion) or a Gaussian, else the identity."""
    radius = BLUR_SIZE // 2
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    kernels = np.zeros((count, BLUR_SIZE, BLUR_SIZE))
    kernels[:, radius, radius] = 1
    angles, lengths = random.uniform(0, math.pi, count), random.uniform(1, radius, count)
    sigmas, kinds = random.uniform(0.5, 1.1, count), random.random(count)
    for i in np.flatnonzero(kinds < ranges.BLUR_PROBABILITY):
        if kinds[i] < ranges.BLUR_PROBABILITY / 2:
            along = x * np.cos(angles[i]) + y * np.sin(angles[i])
            across = x * np.sin(angles[i]) - y * np.cos(angles[i])
            kernel = (np.clip(1 - abs(across), 0, 1)) * (abs(along) <= lengths[i])
        else:
            kernel = np.exp(-(x**2 + y**2) / (2 * sigmas[i] ** 2))
        kernels[i] = kernel / kernel.sum()
    return kernels


def _sampling_grid(homography: Tensor, height: int, width: int) -> Tensor:
    """Return N x H x W x 2, the position in the frame for each pixel of the result."""
    device = homography.device
    y = (torch.arange(height, device=device) * 2 + 1) / height - 1
    x = (torch.arange(width, device=device) * 2 + 1) / width - 1
    ones = torch.ones(height, width, device=device)
    positions = torch.stack([x.expand_as(ones), y[:, None].expand_as(ones), ones])
    moved = torch.einsum("nij,jhw->nihw", homography, positions)
    return (moved[:, :2] / moved[:, 2:].clamp_min(1e-3)).permute(0, 2, 3, 1)


def _brightness(picture: Tensor) -> Tensor:
    red, green, blue = picture.unbind(1)
    return (GREY[0] * red + GREY[1] * green + GREY[2] * blue)[:, None]


def _blur(picture: Tensor, kernels: Tensor) -> Tensor:
    count, channels, height, width = picture.shape
    weight = kernels.repeat_interleave(channels, 0)[:, None]
    joined = picture.reshape(1, count * channels, height, width)
    padded = F.pad(joined, (BLUR_SIZE // 2,) * 4, mode="replicate")
    return F.conv2d(padded, weight, groups=count * channels).reshape(picture.shape)


def _draw_spots(picture: Tensor, spots: Tensor) -> Tensor:
    height, width = picture.shape[-2:]
    x0, y0, a, b, angle = (v[:, :, None, None] for v in spots.unbind(2))
    centres = torch.stack([x0, y0], -1).reshape(len(spots), -1, 1, 2) * 2 - 1
    lit = F.grid_sample(picture, centres, mode="nearest", align_corners=False).mean(1)
    is_drawn = (a > 0) & (lit[:, :, :, None] * 255 >= ranges.MIN_LIT_BRIGHTNESS)
    y = (torch.arange(height, device=picture.device) + 0.5)[:, None] / height - y0
    x = (torch.arange(width, device=picture.device) + 0.5) / width - x0
    along, across = x * angle.cos() + y * angle.sin(), y * angle.cos() - x * angle.sin()
    a, b = a.clamp_min(1 / width), b.clamp_min(1 / width)
    distance = torch.sqrt((along / a) ** 2 + (across / b) ** 2)
    # The edge is about two pixels wide.
    glare = ((1 - distance) * torch.minimum(a, b) * width / 2 + 0.5).clamp(0, 1) * is_drawn
    glare = glare.amax(1, keepdim=True)
    return picture * (1 - glare) + glare


def _interlace(picture: Tensor, shift: Tensor) -> Tensor:
    height, width = picture.shape[-2:]
    rows = torch.arange(height, device=picture.device)[:, None] % 2
    columns = torch.arange(width, device=picture.device) - shift.long()[:, None, None] * rows
    index = (columns % width)[:, None].expand(-1, picture.shape[1], -1, -1)
    return picture.contiguous().gather(3, index)


def _visible_area(border: Tensor, height: int, width: int) -> Tensor:
    """Return N x 1 x H x W, 1 in the visible area and 0 outside."""
    y = torch.linspace(-1, 1, height, device=border.device)[:, None]
    x = torch.linspace(-1, 1, width, device=border.device)
    radius, is_disc = (v[:, None, None] for v in border.unbind(1))
    distance = torch.where(is_disc > 0.5, torch.sqrt((x**2 + y**2) / 2), (abs(x) + abs(y)) / 2)
    return ((distance <= radius) | (radius == 0)).to(border.dtype)[:, None]


@functools.cache
def _jpeg_table(device: torch.device) -> Tensor:
    """Return the table on a device; a copy at each step would wait for the device."""
    return torch.tensor(JPEG_LUMINANCE, dtype=torch.float32).to(device)


def _compress(picture: Tensor, quality: Tensor) -> Tensor:
    """Quantise the cosine transform of blocks of 8 x 8 pixels, as JPEG does."""
    device = picture.device
    k = torch.arange(8, device=device, dtype=picture.dtype)
    basis = torch.cos((2 * k + 1) * k[:, None] * math.pi / 16) / 2
    basis[0] /= math.sqrt(2)
    step = _jpeg_table(device) / 255 * quality.clamp_min(1e-6)[:, None, None]
    step = step[:, None, None, :, None, :]
    count, channels, height, width = picture.shape
    blocks = picture.reshape(count, channels, height // 8, 8, width // 8, 8)
    values = torch.einsum("ui,ncyixj,vj->ncyuxv", basis, blocks, basis)
    values = torch.round(values / step) * step
    decoded = torch.einsum("ui,ncyuxv,vj->ncyixj", basis, values, basis).reshape(picture.shape)
    return torch.where(quality[:, None, None, None] > 0, decoded, picture)
