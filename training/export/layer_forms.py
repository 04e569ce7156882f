"""Rewrites of layers that keep a network's function and change its speed.

A 1x1 convolution and the grouped (1, 5) or (5, 1) convolution behind it are linear with nothing in
between, so they can be one convolution. A grouped convolution is a dense one with zeros. A grouped
one with few outputs is a depthwise one whose outputs are summed. The fastest form depends on the
runtime and the machine, so the choice is data: training.export.form_search makes it.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from training.models.merged_filters import dense_weight, merge_pair
from xpnet.errors import UserError

PAIR_FORMS = ("keep", "dense", "merge")
"""Forms of a 1x1 and the grouped convolution behind it: unchanged, second dense, one dense."""
SCALE_FORMS = ("keep", "dense", "depthwise")
"""Forms of a branch of the EPSA module: unchanged; dense; depthwise convolutions and fixed sums."""
Forms = dict[str, str]
"""Form by the part's name; a part that is not named stays unchanged."""
FORMS = Path(__file__).parent / "forms"
"""Files of `xpnet export tune` used for export: .cpu.json was measured, .gpu.json estimated."""


def read_forms(path: Path) -> Forms:
    """Read the forms of a file of `xpnet export tune`.

    Args:
        path: The file.

    Raises:
        UserError: The file is missing or has another content.
    """
    try:
        forms = json.loads(path.read_text(encoding="utf-8"))["forms"]
        return {str(name): str(form) for name, form in forms.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: not a file of `xpnet export tune`: {error}") from error


def included_forms(network: str, precision: str) -> Forms:
    """Return the included forms for a precision; empty if a network has no choice.

    FP32 and UINT8 files are served on CPUs, FP16 and INT8 files become plans of a GPU.

    Args:
        network: Name of the network.
        precision: `fp32`, `fp16`, `int8` or `uint8`.
    """
    path = FORMS / f"{network}.{'gpu' if precision in ('fp16', 'int8') else 'cpu'}.json"
    return read_forms(path) if path.is_file() else {}


def find_parts(network: nn.Module) -> dict[str, tuple[str, ...]]:
    """Return every part of a network that has more than one form, with its forms."""
    found: dict[str, tuple[str, ...]] = {name: PAIR_FORMS for name, _ in _pairs(network)}
    found |= {name: SCALE_FORMS for name, conv in _scales(network) if conv.groups > 1}
    return found


def apply_forms(network: nn.Module, forms: Forms) -> nn.Module:
    """Return a copy of a network for evaluation, with folded batch norms and the given forms.

    Its outputs equal those of the network up to rounding.

    Args:
        network: The network as trained.
        forms: Form by part.

    Raises:
        ValueError: `forms` names a part or a form that does not exist.
    """
    copied = copy.deepcopy(network).eval()
    known = find_parts(copied)
    for name, form in forms.items():
        if form not in known.get(name, ()):
            raise ValueError(f"{name}: {form}: known forms are {known.get(name, 'none there')}")
    for name, block in list(_pairs(copied)):
        _rewrite_pair(block, forms.get(name, "keep"))
    for name, conv in list(_scales(copied)):
        parent, index = _parent(copied, name)
        parent[int(index)] = _rewritten_scale(conv, forms.get(name, "keep"))
    _fold(copied)
    return copied


def _pairs(network: nn.Module) -> Iterator[tuple[str, nn.Sequential]]:
    """Return sequences that start with a 1x1 and a grouped convolution with nothing in between."""
    for name, module in network.named_modules():
        if not isinstance(module, nn.Sequential) or len(module) < 2:
            continue
        first, second = module[0], module[1]
        if not (isinstance(first, nn.Conv2d) and isinstance(second, nn.Conv2d)):
            continue
        if first.kernel_size == (1, 1) and first.bias is None and second.groups > 1:
            yield name, module


def _scales(network: nn.Module) -> Iterator[tuple[str, nn.Conv2d]]:
    """Return the branches of the EPSA modules that have not been rewritten."""
    for parent, scales in network.named_modules():
        if parent.endswith(".scales") and isinstance(scales, nn.ModuleList):
            for index, module in enumerate(scales):
                if isinstance(module, nn.Conv2d):
                    yield f"{parent}.{index}", module


def _rewrite_pair(block: nn.Sequential, form: str) -> None:
    first, second = block[0], block[1]
    assert isinstance(first, nn.Conv2d)
    assert isinstance(second, nn.Conv2d)
    if form == "dense":
        block[1] = dense(second)
    elif form == "merge":
        weight = merge_pair(first.weight, second.weight, second.groups)
        block[0] = _convolution(second, weight, groups=1)
        block[1] = nn.Identity()


def _rewritten_scale(conv: nn.Conv2d, form: str) -> nn.Module:
    if form == "dense":
        return dense(conv)
    if form == "depthwise":
        return depthwise(conv)
    return conv


def dense(conv: nn.Conv2d) -> nn.Conv2d:
    """Return a grouped convolution as a dense one, with zeros between groups."""
    return _convolution(conv, dense_weight(conv.weight, conv.groups), groups=1)


def depthwise(conv: nn.Conv2d) -> nn.Sequential:
    """Return a grouped convolution as a depthwise one and a grouped 1x1 that sums its outputs."""
    inputs, outputs = conv.in_channels // conv.groups, conv.out_channels // conv.groups
    # Each input channel is filtered once for every output of its group, channel by channel,
    # since a depthwise convolution keeps the outputs of one input together.
    weight = conv.weight.detach().reshape(conv.groups, outputs, inputs, *conv.kernel_size)
    weight = weight.transpose(1, 2).reshape(-1, 1, *conv.kernel_size)
    filters = _convolution(conv, weight, groups=conv.in_channels)
    sums = nn.Conv2d(len(weight), conv.out_channels, 1, groups=conv.groups, bias=False)
    ones = torch.eye(outputs).repeat(1, inputs).repeat(conv.groups, 1)
    sums.weight = nn.Parameter(ones[:, :, None, None].to(conv.weight), requires_grad=False)
    return nn.Sequential(filters, sums)


def _convolution(like: nn.Conv2d, weight: torch.Tensor, groups: int) -> nn.Conv2d:
    padding = like.padding
    assert not isinstance(padding, str)
    made = nn.Conv2d(
        weight.shape[1] * groups,
        weight.shape[0],
        (weight.shape[2], weight.shape[3]),
        stride=(like.stride[0], like.stride[1]),
        padding=(padding[0], padding[1]),
        groups=groups,
        bias=False,
    )
    made.weight = nn.Parameter(weight.detach(), requires_grad=False)
    return made.eval()


def _fold(network: nn.Module) -> None:
    """Fold each batch norm into the convolution before it."""
    for module in network.modules():
        if not isinstance(module, nn.Sequential):
            continue
        last = None
        for i, child in enumerate(module):
            if isinstance(child, nn.BatchNorm2d) and last is not None:
                convolution = module[last]
                assert isinstance(convolution, nn.Conv2d)
                module[last] = fuse_conv_bn_eval(convolution, child)
                module[i] = nn.Identity()
                last = None
            elif isinstance(child, nn.Conv2d):
                last = i
            elif not isinstance(child, nn.Identity):
                last = None


def _parent(network: nn.Module, name: str) -> tuple[nn.ModuleList, str]:
    path, _, index = name.rpartition(".")
    parent = network.get_submodule(path)
    assert isinstance(parent, nn.ModuleList)
    return parent, index
