"""The discriminators: hierarchical for distillation, patches for pix2pix.

The hierarchical one follows HAD-Net (Vadacchino et al., MIDL 2021) with the blocks of the paper's
section 2.3, CAT-DC32-CAT-DC128-CAT-DC128-CAT-DC32-CAT-DC32-ENCONV: it sees the frame, the
segmentation and the network's own features, and says of each place whether a teacher made them.
"""

from __future__ import annotations

import torch
from monai.networks.nets import PatchDiscriminator
from torch import Tensor, nn
from torch.nn import functional as F

from training.models.networks import TAP_CHANNELS, TAPS

Taps = dict[str, Tensor]


class HierarchicalDiscriminator(nn.Module):
    """HD: frame, probability map and the features named in TAPS to a map of scores."""

    WIDTHS = (32, 128, 128, 32, 32)

    def __init__(self) -> None:
        super().__init__()
        # Each block meets the running tensor joined with the frame and map, or with a tap.
        joined = (3 + 1, *(TAP_CHANNELS[name] for name in TAPS))
        running = (0, *self.WIDTHS[:-1])
        self.blocks = nn.ModuleList(
            _dc(r + j, w) for r, j, w in zip(running, joined, self.WIDTHS, strict=True)
        )
        self.scores = nn.Conv2d(self.WIDTHS[-1], 1, 3, padding=1)  # ENCONV

    def forward(self, frames: Tensor, probabilities: Tensor, taps: Taps | None) -> Tensor:
        """Frames N x 3 x H x W and maps N x 1 x H x W in [0, 1] to scores N x 1 x H x W.

        `taps` are the features of the network that made the map, with the paper's channels at
        full and at quarter size. Without them zeros stand in their places: for a teacher that
        has no such features, then for the student beside it, too, or their absence would tell.
        """
        x = self.blocks[0](torch.cat([frames, probabilities], dim=1))
        for block, name in zip(self.blocks[1:], TAPS, strict=True):
            if taps is None:
                height, width = (s // _scale(name) for s in frames.shape[-2:])
                tap = x.new_zeros(len(x), TAP_CHANNELS[name], height, width)
            else:
                tap = taps[name]
            x = block(torch.cat([_at_size(x, tap.shape[-2], tap.shape[-1]), tap], dim=1))
        return self.scores(x)


class TapAdapter(nn.Module):
    """Brings the features of a student with other channels into the form of the paper's.

    One 1x1 convolution a tap, learned with the student and dropped after the training.
    """

    def __init__(self, channels: dict[str, int]) -> None:
        super().__init__()
        self.convolutions = nn.ModuleDict(
            {name: nn.Conv2d(channels[name], TAP_CHANNELS[name], 1) for name in TAPS}
        )

    def forward(self, taps: Taps, height: int, width: int) -> Taps:
        """Taps of a frame of height x width, in pixels, to taps of the paper's sizes."""
        return {
            name: _at_size(convolution(taps[name]), height // _scale(name), width // _scale(name))
            for name, convolution in self.convolutions.items()
        }


def patch_discriminator() -> PatchDiscriminator:
    """pix2pix's: (frame, map) N x 4 x H x W to a list whose last entry scores patches of 70."""
    return PatchDiscriminator(spatial_dims=2, channels=64, in_channels=4, num_layers_d=3)


def _dc(channels_in: int, channels: int) -> nn.Sequential:
    """DC-K: 3x3 convolution, instance norm, LeakyReLU."""
    return nn.Sequential(
        nn.Conv2d(channels_in, channels, 3, padding=1),
        nn.InstanceNorm2d(channels),
        nn.LeakyReLU(0.2, inplace=True),
    )


def _scale(tap: str) -> int:
    return 4 if tap.endswith("3") else 1


def _at_size(x: Tensor, height: int, width: int) -> Tensor:
    """Averaged down or interpolated up: every DC keeps its size, the taps do not share one."""
    if x.shape[-2:] == (height, width):
        return x
    if x.shape[-2] > height:
        return F.adaptive_avg_pool2d(x, (height, width))
    return F.interpolate(x, size=(height, width), mode="bilinear", align_corners=False)
