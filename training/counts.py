"""Parameters and multiply-adds of a network, counted on its layers."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from training.zoo import NETWORKS


def multiply_adds(network: nn.Module, height: int, width: int) -> int:
    """Multiply-adds of all convolutions for one frame of height x width, in pixels.

    Batch norm, activations and pooling are left out, as is usual. The network runs on torch's
    `meta` device, so no arithmetic is done.
    """
    total = 0

    def count(layer: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        nonlocal total
        assert isinstance(layer, nn.Conv2d | nn.ConvTranspose2d)
        # A transposed convolution multiplies each input pixel with the kernel, not each output.
        pixels = inputs[0] if isinstance(layer, nn.ConvTranspose2d) else output
        total += layer.weight.numel() * pixels.shape[-2] * pixels.shape[-1]

    convolutions = [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)]
    handles = [c.register_forward_hook(count) for c in convolutions]
    try:
        with torch.inference_mode():
            network.to("meta").eval()(torch.empty(1, 3, height, width, device="meta"))
    finally:
        for handle in handles:
            handle.remove()
    return total


def network_table(size: int = 512) -> dict[str, dict[str, int]]:
    """For each network: `parameters`, and `multiply_adds` at size x size pixels."""
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
