"""Merged filters: several linear convolutions computed as one dense convolution.

A 1x1 convolution and the grouped one behind it have nothing in between, so together they are one
convolution. The four branches of the EPSA module are one convolution with the largest kernel. The
merged weight is computed from the separate ones at each step, so parameters, function and gradients
stay the same up to rounding. A GPU computes one dense convolution on its tensor cores many times
faster than grouped ones; a CPU does not gain.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def dense_weight(weight: Tensor, groups: int) -> Tensor:
    """Return the weight of a grouped convolution with zeros between the groups.

    Args:
        weight: O x I/groups x H x W.
        groups: Number of groups.

    Returns:
        O x I x H x W.
    """
    if groups == 1:
        return weight
    outputs, inputs, height, width = weight.shape
    blocks = weight.unflatten(0, (groups, outputs // groups))
    identity = torch.eye(groups, dtype=weight.dtype, device=weight.device)
    dense = torch.einsum("goihw,gk->gokihw", blocks, identity)
    return dense.reshape(outputs, groups * inputs, height, width)


def merge_pair(first: Tensor, second: Tensor, groups: int) -> Tensor:
    """Return the weight of the convolution that equals a 1x1 and a grouped one behind it.

    Args:
        first: Weight of the 1x1 convolution, M x I x 1 x 1.
        second: Weight of the grouped convolution, O x M/groups x H x W.
        groups: Groups of the second convolution.

    Returns:
        O x I x H x W.
    """
    outputs, _, height, width = second.shape
    inputs = first.shape[1]
    grouped = second.unflatten(0, (groups, outputs // groups))
    merged = torch.einsum("gomhw,gmi->goihw", grouped, first[:, :, 0, 0].unflatten(0, (groups, -1)))
    return merged.reshape(outputs, inputs, height, width)


def merge_branches(weights: Sequence[Tensor], groups: Sequence[int]) -> Tensor:
    """Return the weight of the convolution that computes several branches of one input.

    Args:
        weights: Weight of each branch, O x I/groups x K x K with odd K.
        groups: Groups of each branch.

    Returns:
        (sum of O) x I x K x K with the largest K.
    """
    largest = max(weight.shape[-1] for weight in weights)
    padded = []
    for weight, count in zip(weights, groups, strict=True):
        margin = (largest - weight.shape[-1]) // 2
        padded.append(F.pad(dense_weight(weight, count), (margin,) * 4))
    return torch.cat(padded)


def merge_filters(network: nn.Module, enabled: bool = True) -> None:
    """Let all modules of a network that can merge their filters do so, or not.

    Args:
        network: Modules with the attribute `merged` are changed (training.models.networks).
        enabled: Whether they merge.
    """
    for module in network.modules():
        if hasattr(module, "merged"):
            module.merged = enabled  # type: ignore[assignment]
