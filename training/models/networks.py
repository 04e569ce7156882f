"""The networks of XP-Net in one file: the baseline U-Net, the teacher and the student.

Source: Ragu B et al., XP-Net, EndoCV2022, section 2.2 and figure 2; EPSA after Zhang et al.,
EPSANet, 2021. All three share one frame: four encoders with max pooling, a bottleneck, four
decoders with transposed convolutions and skip connections, and a 1x1 head.

                 block at K channels                            parameters
    unet         CBR     2 x (3x3 conv, batch norm, ReLU)        7,763,041
    teacher      CBR, in encoder 1 with EPSA between the two     7,774,373
    student      CPDBR   separable filters, and EPSA likewise    1,839,333

The paper's Table 1 gives the teacher one parameter more, which nothing in it explains.
Tensors are N x C x H x W, float32; frames are RGB in [0, 1]; H and W are divisible by 16.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from xpnet.card import STRIDE

WIDTHS = (32, 64, 128, 256)
BOTTLENECK = 512

TAPS = ("encoder1", "encoder3", "decoder3", "decoder1")
"""The features that distillation compares; decoder 3 is the one at the size of encoder 3."""
TAP_CHANNELS = {"encoder1": 32, "encoder3": 128, "decoder3": 128, "decoder1": 32}
"""Their channels, in the networks of the paper: full size, a quarter, a quarter, full size."""


class EPSA(nn.Module):
    """Efficient pyramid squeeze attention on K channels: four scales, each weighing its channels.

    Kernels 3, 5, 7 and 9 see four scales of the same features. The published module uses groups
    1, 4, 8, 16 and a reduction of 16; K = 32 leaves 8 channels a branch, where only groups
    1, 2, 4, 8 and one hidden channel divide evenly, and these give the paper's parameter count.
    """

    KERNELS = (3, 5, 7, 9)
    GROUPS = (1, 2, 4, 8)

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
        """N x K x H x W in, the same shape out."""
        features = [scale(x) for scale in self.scales]
        weights = [weigh(f) for weigh, f in zip(self.weights, features, strict=True)]
        # The softmax runs over the four branches: for each channel the scales compete.
        attention = torch.stack(weights, dim=1).softmax(dim=1)
        return torch.cat([f * attention[:, i] for i, f in enumerate(features)], dim=1)


def conv_bn_relu(channels_in: int, channels: int) -> nn.Sequential:
    """Half of a CBR block: 3x3 convolution without bias, batch norm, ReLU."""
    return nn.Sequential(
        nn.Conv2d(channels_in, channels, 3, padding=1, bias=False),
        nn.BatchNorm2d(channels),
        nn.ReLU(inplace=True),
    )


def separable_bn_relu(channels_in: int, channels: int, horizontal: bool) -> nn.Sequential:
    """Half of a CPDBR block: 1x1 convolution, then a grouped (1, 5) or (5, 1), batch norm, ReLU.

    The paper names the two convolutions the other way round and calls the second depthwise;
    8 groups for (1, 5) and 32 for (5, 1) are what its parameter count gives.
    """
    kernel, padding, groups = ((1, 5), (0, 2), 8) if horizontal else ((5, 1), (2, 0), 32)
    return nn.Sequential(
        nn.Conv2d(channels_in, channels, 1, bias=False),
        nn.Conv2d(channels, channels, kernel, padding=padding, groups=groups, bias=False),
        nn.BatchNorm2d(channels),
        nn.ReLU(inplace=True),
    )


def cbr(channels_in: int, channels: int, attention: bool = False) -> nn.Sequential:
    """CBR-K, or CABR-K with the EPSA module between its two convolutions."""
    middle = [EPSA(channels)] if attention else []
    return nn.Sequential(
        conv_bn_relu(channels_in, channels), *middle, conv_bn_relu(channels, channels)
    )


def cpdbr(channels_in: int, channels: int, attention: bool = False) -> nn.Sequential:
    """CPDBR-K, or CAPDBR-K with the EPSA module between A and B."""
    middle = [EPSA(channels)] if attention else []
    return nn.Sequential(
        separable_bn_relu(channels_in, channels, horizontal=True),
        *middle,
        separable_bn_relu(channels, channels, horizontal=False),
    )


class SegmentationNet(nn.Module):
    """The frame that all three networks share; `block` makes each encoder and decoder.

    Raises:
        ValueError: in `forward`, for an input that is not N x 3 x H x W with H and W
            divisible by 16.
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
        """Logits N x 1 x H x W (float32), and the features named in TAPS at their own sizes."""
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
        # The head's sum stays in float32 under autocast: probabilities near the threshold are
        # what the mask's edge is made of.
        return self.head(x).float(), {name: taps[name] for name in TAPS}

    def forward(self, x: Tensor) -> Tensor:
        """RGB frames N x 3 x H x W in [0, 1] to polyp probabilities N x 1 x H x W in [0, 1]."""
        return torch.sigmoid(self.logits_and_taps(x)[0])


def check_input(shape: tuple[int, ...]) -> None:
    """Raises ValueError, naming found and expected, unless `shape` fits the networks."""
    if len(shape) != 4 or shape[1] != 3 or shape[2] % STRIDE or shape[3] % STRIDE:
        raise ValueError(
            f"input shape {shape}: expected (N, 3, H, W) with H and W divisible by {STRIDE}"
        )


def _kaiming_uniform(module: nn.Module) -> None:
    """The initial weights that converged best in the paper (section 3.2)."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.kaiming_uniform_(module.weight, nonlinearity="relu")
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def unet() -> SegmentationNet:
    """The baseline U-Net, 7,763,041 parameters."""
    return SegmentationNet(cbr, attention=False)


def teacher() -> SegmentationNet:
    """The U-Net with EPSA in encoder 1, 7,774,373 parameters: teacher 1 and teacher 2."""
    return SegmentationNet(cbr, attention=True)


def student() -> SegmentationNet:
    """The student with separable filters and EPSA, 1,839,333 parameters: what is deployed."""
    return SegmentationNet(cpdbr, attention=True)
