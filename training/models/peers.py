"""Networks that others use to segment polyps, from their published packages, for comparison.

`xpnet bench network` times them with fresh weights, which take the same time as trained ones;
`xpnet train peers` trains them. A package that is not installed, or does not import, is named, and
the others are used.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from xpnet.errors import UserError


class Peer(nn.Module):
    """A published network with the interface of ours: a map of the frame's size, and no taps.

    Args:
        network: Returns logits N x 1 x h x w, or a dict with them as `out`.

    Attributes:
        tap_channels: Empty: its features are not compared with those of a teacher.
    """

    tap_channels: ClassVar[dict[str, int]] = {}

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def logits_and_taps(self, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the logits N x 1 x H x W (float32), and no features.

        Args:
            x: RGB frames N x 3 x H x W in [0, 1].
        """
        found: Any = self.network(x)
        logits: Tensor = found["out"] if isinstance(found, dict) else found
        if logits.shape[-2:] != x.shape[-2:]:
            logits = F.interpolate(logits, x.shape[-2:], mode="bilinear", align_corners=False)
        return logits.float(), {}

    def forward(self, x: Tensor) -> Tensor:
        """Return probabilities N x 1 x H x W of RGB frames N x 3 x H x W; both in [0, 1]."""
        return torch.sigmoid(self.logits_and_taps(x)[0])


def _basic_unet() -> nn.Module:
    from monai.networks.nets.basic_unet import BasicUNet

    return BasicUNet(spatial_dims=2, in_channels=3, out_channels=1)


def _flexible_unet() -> nn.Module:
    from monai.networks.nets.flexible_unet import FlexibleUNet

    return FlexibleUNet(
        in_channels=3, out_channels=1, backbone="efficientnet-b0", pretrained=False
    )  # fmt: skip


def _segresnet() -> nn.Module:
    from monai.networks.nets.segresnet import SegResNet

    return SegResNet(spatial_dims=2, in_channels=3, out_channels=1)


def _smp_unet(encoder: str) -> nn.Module:
    from segmentation_models_pytorch import Unet

    return Unet(encoder, encoder_weights=None, in_channels=3, classes=1)


def _lraspp() -> nn.Module:
    from torchvision.models.segmentation import lraspp_mobilenet_v3_large

    return lraspp_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=1)


PEERS: dict[str, tuple[str, Callable[[], nn.Module]]] = {
    # name: the package, and what makes the network
    "basicunet": ("monai", _basic_unet),
    "flexibleunet-efficientnet-b0": ("monai", _flexible_unet),
    "segresnet": ("monai", _segresnet),
    "smp-unet-mobilenet-v2": ("segmentation-models-pytorch", lambda: _smp_unet("mobilenet_v2")),
    "smp-unet-efficientnet-lite0": (
        "segmentation-models-pytorch", lambda: _smp_unet("timm-tf_efficientnet_lite0")
    ),
    "smp-unet-resnet34": ("segmentation-models-pytorch", lambda: _smp_unet("resnet34")),
    "lraspp-mobilenet-v3": ("torchvision", _lraspp),
}  # fmt: skip


def make_peer(name: str) -> Peer:
    """Return a peer with fresh weights.

    Args:
        name: A key of PEERS.

    Raises:
        UserError: Its package is missing or does not import.
    """
    package, make = PEERS[name]
    try:
        return Peer(make())
    except (ImportError, RuntimeError, AttributeError) as error:  # a torchvision of another torch
        reason = str(error).strip().splitlines() or [repr(error)]
        raise UserError(f"{package} does not import: {reason[0]}") from error
