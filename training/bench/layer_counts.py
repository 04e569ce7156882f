"""Parameters, multiply-adds and values moved by a network, counted for each layer."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from training.models.zoo import NETWORKS


@dataclass(frozen=True)
class Layer:
    """One convolution: its name in the network, multiply-adds, and values moved."""

    name: str
    multiply_adds: int
    values: int


def layers(network: nn.Module, height: int, width: int) -> list[Layer]:
    """Return every convolution of a network for one frame, in the order of execution.

    The network is moved to torch's `meta` device, so nothing is computed.

    Args:
        network: The network.
        height: Height of the frame in pixels.
        width: Width of the frame in pixels.
    """
    found: list[Layer] = []

    def note(name: str) -> object:
        def hook(layer: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
            assert isinstance(layer, nn.Conv2d | nn.ConvTranspose2d)
            # A transposed convolution multiplies each input pixel with the kernel.
            pixels = inputs[0] if isinstance(layer, nn.ConvTranspose2d) else output
            weights = layer.weight.numel()
            found.append(
                Layer(
                    name,
                    weights * pixels.shape[-2] * pixels.shape[-1],
                    inputs[0].numel() + weights + output.numel(),
                )
            )

        return hook

    handles = [
        module.register_forward_hook(note(name))  # type: ignore[arg-type]
        for name, module in network.named_modules()
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d)
    ]
    try:
        with torch.inference_mode():
            network.to("meta").eval()(torch.empty(1, 3, height, width, device="meta"))
    finally:
        for handle in handles:
            handle.remove()
    return found


def multiply_adds(network: nn.Module, height: int, width: int) -> int:
    """Return the multiply-adds of all convolutions for one frame.

    Batch norm, activations and pooling are not counted, as is usual.

    Args:
        network: The network.
        height: Height of the frame in pixels.
        width: Width of the frame in pixels.
    """
    return sum(layer.multiply_adds for layer in layers(network, height, width))


def network_table(size: int = 512) -> dict[str, dict[str, int]]:
    """Return `parameters` and `multiply_adds` of each network at size x size pixels."""
    table = {}
    for name, make in NETWORKS.items():
        network = make()
        parameters = sum(p.numel() for p in network.parameters())
        table[name] = {
            "parameters": parameters,
            "multiply_adds": multiply_adds(network, size, size),
            "size": size,
        }
    return table
