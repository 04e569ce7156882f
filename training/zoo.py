"""Every network that can be trained, by name."""

from __future__ import annotations

from collections.abc import Callable

from training.networks import SegmentationNet, student, teacher, unet
from training.pretrained import PretrainedUNet, lite, teacher3

Network = SegmentationNet | PretrainedUNet

NETWORKS: dict[str, Callable[[], Network]] = {
    "unet": unet,
    "teacher": teacher,
    "student": student,
    "teacher3": teacher3,
    "lite": lite,
}
MODEL_NAMES = {
    "student": "xpnet",
    "lite": "xpnet_lite",
    "unet": "xpnet_unet",
    "teacher": "xpnet_teacher",
    "teacher3": "xpnet_teacher3",
}
"""The name of each network's model in its card and, where it is served, in the repository."""


def fresh(name: str) -> Network:
    """A network with its first weights: Kaiming-uniform, the encoders of ImageNet where it has one.

    Raises:
        UserError: the package with the ImageNet weights is not installed.
    """
    network = NETWORKS[name]()
    if isinstance(network, PretrainedUNet):
        network.encoder.load_imagenet()
    return network
