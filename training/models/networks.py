"""The networks of XP-Net in one file: the baseline U-Net, the teacher and the student.

Source: Ragu B et al., XP-Net, EndoCV2022, section 2.2 and figure 2; EPSA after Zhang et al.,
EPSANet, 2021. All three have the same structure: four encoders with max pooling, a bottleneck,
four decoders with transposed convolutions and skip connections, and a 1x1 head.

                 block at K channels                            parameters
    unet         CBR     2 x (3x3 conv, batch norm, ReLU)        7,763,041
    teacher      CBR, with EPSA between the two in encoder 1     7,774,373
    student      CPDBR   separable filters, EPSA in encoder 1    1,839,333

The paper's Table 1 gives the teacher one parameter more and does not explain it.
Tensors are N x C x H x W, float32; frames are RGB in [0, 1]; H and W are divisible by 16.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training.models.merged_filters import merge_branches, merge_pair
from xpnet.card import STRIDE

WIDTHS = (32, 64, 128, 256)
BOTTLENECK = 512

TAPS = ("encoder1", "encoder3", "decoder3", "decoder1")
"""Features that distillation compares; decoder 3 has the size of encoder 3."""
TAP_CHANNELS = {"encoder1": 32, "encoder3": 128, "decoder3": 128, "decoder1": 32}
"""Channels of TAPS in the paper's networks; their sizes are 1, 1/4, 1/4 and 1 of the frame."""


class EPSA(nn.Module):
    """Efficient pyramid squeeze attention on K channels: four scales with weighted channels.

    Kernels 3, 5, 7 and 9 compute four scales of the same features. The published module uses
    groups 1, 4, 8, 16 and a reduction of 16. K = 32 leaves 8 channels per branch, so groups
    1, 2, 4, 8 and one hidden channel are used; these give the paper's parameter count.

    Args:
        channels: K, divisible by 32.

    Attributes:
        merged: Whether the four scales are computed by one dense convolution; the function is
            the same (training.models.merged_filters).
    """

    KERNELS = (3, 5, 7, 9)
    GROUPS = (1, 2, 4, 8)
    merged = False

    def __init__(self, channels: int) -> None:
        super().__init__()
        branch = channels // len(self.KERNELS)
        self.scales = nn.ModuleList(
            nn.Conv2d(channels, branch, k, padding=k // 2, groups=g, bias=False)
            for k, g in zip(self.KERNELS, self.GROUPS, strict=True)
        )
        self.weights = nn.ModuleList(
            nn.Sequential(
                nn.AdaptiveAvgPool2d(1),
                nn.Conv2d(branch, 1, 1),
                nn.ReLU(inplace=True),
                nn.Conv2d(1, branch, 1),
                nn.Sigmoid(),
            )
            for _ in self.KERNELS
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return the weighted features; input and output are N x K x H x W."""
        features = self._merged_scales(x) if self.merged else [scale(x) for scale in self.scales]
        weights = [weigh(f) for weigh, f in zip(self.weights, features, strict=True)]
        # The softmax over the four branches weighs the scales of each channel against each other.
        attention = torch.stack(weights, dim=1).softmax(dim=1)
        return torch.cat([f * attention[:, i] for i, f in enumerate(features)], dim=1)

    def _merged_scales(self, x: Tensor) -> list[Tensor]:
        with torch.autocast(x.device.type, enabled=False):
            weights = [scale.get_parameter("weight") for scale in self.scales]
            weight = merge_branches(weights, self.GROUPS)
        features = F.conv2d(x, weight, padding=max(self.KERNELS) // 2)
        return list(features.chunk(len(self.KERNELS), dim=1))


class SeparableBlock(nn.Sequential):
    """A 1x1 convolution, a grouped convolution, batch norm and ReLU.

    Attributes:
        merged: Whether the two convolutions are computed as one dense convolution; the function
            is the same (training.models.merged_filters).
    """

    merged = False

    def forward(self, x: Tensor) -> Tensor:
        """Map N x channels_in x H x W to N x channels x H x W."""
        if not self.merged:
            return super().forward(x)
        first, second, norm, activation = self
        assert isinstance(first, nn.Conv2d)
        assert isinstance(second, nn.Conv2d)
        with torch.autocast(x.device.type, enabled=False):
            weight = merge_pair(first.weight, second.weight, second.groups)
        features: Tensor = activation(norm(F.conv2d(x, weight, padding=second.padding)))
        return features


def conv_bn_relu(channels_in: int, channels: int) -> nn.Sequential:
    """Build half of a CBR block: 3x3 convolution without bias, batch norm, ReLU."""
    return nn.Sequential(
        nn.Conv2d(channels_in, channels, 3, padding=1, bias=False),
        nn.BatchNorm2d(channels),
        nn.ReLU(inplace=True),
    )


def separable_bn_relu(channels_in: int, channels: int, horizontal: bool) -> SeparableBlock:
    """Build half of a CPDBR block: 1x1 convolution, grouped convolution, batch norm, ReLU.

    The paper names the two convolutions in the reverse order and calls the second depthwise.
    Its parameter count gives 8 groups for the kernel (1, 5) and 32 groups for (5, 1).

    Args:
        channels_in: Input channels.
        channels: Output channels.
        horizontal: Whether the grouped kernel is (1, 5); else it is (5, 1).
    """
    kernel, padding, groups = ((1, 5), (0, 2), 8) if horizontal else ((5, 1), (2, 0), 32)
    return SeparableBlock(
        nn.Conv2d(channels_in, channels, 1, bias=False),
        nn.Conv2d(channels, channels, kernel, padding=padding, groups=groups, bias=False),
        nn.BatchNorm2d(channels),
        nn.ReLU(inplace=True),
    )


def cbr(channels_in: int, channels: int, attention: bool = False) -> nn.Sequential:
    """Build CBR-K, or with attention CABR-K: EPSA between the two convolutions."""
    middle = [EPSA(channels)] if attention else []
    return nn.Sequential(
        conv_bn_relu(channels_in, channels), *middle, conv_bn_relu(channels, channels)
    )


def cpdbr(channels_in: int, channels: int, attention: bool = False) -> nn.Sequential:
    """Build CPDBR-K, or with attention CAPDBR-K: EPSA between A and B."""
    middle = [EPSA(channels)] if attention else []
    return nn.Sequential(
        separable_bn_relu(channels_in, channels, horizontal=True),
        *middle,
        separable_bn_relu(channels, channels, horizontal=False),
    )


class SegmentationNet(nn.Module):
    """The structure of all three networks.

    Args:
        block: Builds an encoder, the bottleneck or a decoder: `cbr` or `cpdbr`.
        attention: Whether encoder 1 has EPSA.

    Attributes:
        tap_channels: Channels of each of TAPS.
    """

    tap_channels = TAP_CHANNELS

    def __init__(self, block: Callable[..., nn.Module], attention: bool) -> None:
        super().__init__()
        encoders, channels = [], 3
        for i, width in enumerate(WIDTHS):
            encoders.append(block(channels, width, attention=attention and i == 0))
            channels = width
        self.encoders = nn.ModuleList(encoders)
        self.pool = nn.MaxPool2d(2)
        self.bottleneck = block(channels, BOTTLENECK)
        channels = BOTTLENECK
        ups, decoders = [], []
        for width in reversed(WIDTHS):
            ups.append(nn.ConvTranspose2d(channels, width, 2, stride=2))
            decoders.append(block(2 * width, width))  # the skip connection doubles the channels
            channels = width
        self.ups = nn.ModuleList(ups)
        self.decoders = nn.ModuleList(decoders)
        self.head = nn.Conv2d(channels, 1, 1)
        self.apply(_kaiming_uniform)

    def logits_and_taps(self, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the logits N x 1 x H x W (float32) and the features named in TAPS.

        Args:
            x: RGB frames N x 3 x H x W in [0, 1]; H and W divisible by 16.

        Raises:
            ValueError: The input has another shape.
        """
        check_input(tuple(x.shape))
        skips, taps = [], {}
        for level, encoder in enumerate(self.encoders, start=1):
            x = encoder(x)
            skips.append(x)
            taps[f"encoder{level}"] = x
            x = self.pool(x)
        x = self.bottleneck(x)
        for level, up, decoder in zip((4, 3, 2, 1), self.ups, self.decoders, strict=True):
            x = decoder(torch.cat([up(x), skips[level - 1]], dim=1))
            taps[f"decoder{level}"] = x
        # float32 under autocast: the edge of the mask depends on small differences of the logits.
        return self.head(x).float(), {name: taps[name] for name in TAPS}

    def forward(self, x: Tensor) -> Tensor:
        """Return probabilities N x 1 x H x W of RGB frames N x 3 x H x W; both in [0, 1]."""
        return torch.sigmoid(self.logits_and_taps(x)[0])


def check_input(shape: tuple[int, ...]) -> None:
    """Check the shape of an input.

    Raises:
        ValueError: The shape is not (N, 3, H, W) with H and W divisible by 16.
    """
    if len(shape) != 4 or shape[1] != 3 or shape[2] % STRIDE or shape[3] % STRIDE:
        raise ValueError(
            f"input shape {shape}: expected (N, 3, H, W) with H and W divisible by {STRIDE}"
        )


def _kaiming_uniform(module: nn.Module) -> None:
    """Initialise as in the paper (section 3.2), where this converged best."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.kaiming_uniform_(module.weight, nonlinearity="relu")
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def unet() -> SegmentationNet:
    """Build the baseline U-Net with 7,763,041 parameters."""
    return SegmentationNet(cbr, attention=False)


def teacher() -> SegmentationNet:
    """Build teacher 1 or teacher 2: the U-Net with EPSA in encoder 1, 7,774,373 parameters."""
    return SegmentationNet(cbr, attention=True)


def student() -> SegmentationNet:
    """Build the student: separable filters and EPSA in encoder 1, 1,839,333 parameters."""
    return SegmentationNet(cpdbr, attention=True)
