"""Discriminators: the hierarchical one for distillation, the patch one for pix2pix.

The hierarchical discriminator follows HAD-Net (Vadacchino et al., MIDL 2021) with the blocks of the
paper's section 2.3, CAT-DC32-CAT-DC128-CAT-DC128-CAT-DC32-CAT-DC32-ENCONV. Its inputs are the
frame, the probability map and the features of the network that made the map. Its output scores, for
each pixel, whether that network is a teacher.
"""

from __future__ import annotations

import torch
from monai.networks.nets import PatchDiscriminator
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations

from training.models.networks import TAP_CHANNELS, TAPS

Taps = dict[str, Tensor]


class HierarchicalDiscriminator(nn.Module):
    """Hierarchical discriminator: frame, probability map and the features TAPS to scores.

    Args:
        tap_norm: Whether each channel of a feature is scaled to mean 0 and standard deviation 1 in
            each frame, so that its mere scale does not identify the student.
        spectral_norm: Whether the convolutions have spectral norm (Miyato et al., ICLR 2018).
    """

    WIDTHS = (32, 128, 128, 32, 32)

    def __init__(self, tap_norm: bool = False, spectral_norm: bool = False) -> None:
        super().__init__()
        self.tap_norm = tap_norm
        # The first block reads frame and map; each other one the block before it and a tap.
        joined = (3 + 1, *(TAP_CHANNELS[name] for name in TAPS))
        running = (0, *self.WIDTHS[:-1])
        self.blocks = nn.ModuleList(
            _dc(r + j, w) for r, j, w in zip(running, joined, self.WIDTHS, strict=True)
        )
        self.scores = nn.Conv2d(self.WIDTHS[-1], 1, 3, padding=1)  # ENCONV
        if spectral_norm:
            for block in self.blocks:
                parametrizations.spectral_norm(block.get_submodule("0"))
            parametrizations.spectral_norm(self.scores)

    def forward(self, frames: Tensor, probabilities: Tensor, taps: Taps | None) -> Tensor:
        """Return the scores N x 1 x H x W.

        Args:
            frames: N x 3 x H x W, in [0, 1].
            probabilities: N x 1 x H x W, in [0, 1].
            taps: Features of the network that made the map, with the paper's channels at full
                and at a quarter of the size. None uses zeros. If the teacher has no such
                features, the student's must be None, too, or the zeros would identify the teacher.
        """
        x = self.blocks[0](torch.cat([frames, probabilities], dim=1))
        for block, name in zip(self.blocks[1:], TAPS, strict=True):
            if taps is None:
                height, width = (s // _tap_stride(name) for s in frames.shape[-2:])
                tap = x.new_zeros(len(x), TAP_CHANNELS[name], height, width)
            else:
                tap = F.instance_norm(taps[name]) if self.tap_norm else taps[name]
            x = block(torch.cat([_resize(x, tap.shape[-2], tap.shape[-1]), tap], dim=1))
        return self.scores(x)


class TapAdapter(nn.Module):
    """Convert the features of another student to the channels and sizes of the paper's networks.

    It has one 1x1 convolution per tap. It is trained with the student and dropped after training.

    Args:
        channels: Channels of each of TAPS in the student.
    """

    def __init__(self, channels: dict[str, int]) -> None:
        super().__init__()
        self.convolutions = nn.ModuleDict(
            {name: nn.Conv2d(channels[name], TAP_CHANNELS[name], 1) for name in TAPS}
        )

    def forward(self, taps: Taps, height: int, width: int) -> Taps:
        """Return the taps of a frame of height x width pixels with the paper's shapes."""
        return {
            name: _resize(
                convolution(taps[name]), height // _tap_stride(name), width // _tap_stride(name)
            )
            for name, convolution in self.convolutions.items()
        }


def patch_discriminator() -> PatchDiscriminator:
    """Return the discriminator of pix2pix.

    It maps frame and map, N x 4 x H x W, to a list; the last entry scores patches of 70 pixels.
    """
    return PatchDiscriminator(spatial_dims=2, channels=64, in_channels=4, num_layers_d=3)


def _dc(channels_in: int, channels: int) -> nn.Sequential:
    """Build DC-K: 3x3 convolution, instance norm, LeakyReLU."""
    return nn.Sequential(
        nn.Conv2d(channels_in, channels, 3, padding=1),
        nn.InstanceNorm2d(channels),
        nn.LeakyReLU(0.2, inplace=True),
    )


def _tap_stride(tap: str) -> int:
    return 4 if tap.endswith("3") else 1


def _resize(x: Tensor, height: int, width: int) -> Tensor:
    """Average down or interpolate up: the blocks keep their size, the taps differ in size."""
    if x.shape[-2:] == (height, width):
        return x
    if x.shape[-2] > height:
        return F.adaptive_avg_pool2d(x, (height, width))
    return F.interpolate(x, size=(height, width), mode="bilinear", align_corners=False)
