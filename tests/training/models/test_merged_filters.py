"""Merged filters: the same function and gradients as the separate ones."""

from __future__ import annotations

import copy

import pytest
import torch

from training.models.merged_filters import merge_filters
from training.models.zoo import NETWORKS


@pytest.mark.parametrize("name", ["student", "teacher"])
def test_merged_filters_give_equal_logits_and_gradients(name: str) -> None:
    torch.manual_seed(1)
    separate = NETWORKS[name]().double()
    merged = copy.deepcopy(separate)
    merge_filters(merged)
    frames = torch.rand(2, 3, 32, 48, dtype=torch.float64)
    taps = [network.logits_and_taps(frames)[1]["decoder1"] for network in (separate, merged)]
    torch.testing.assert_close(*taps)
    for tap in taps:
        (tap**2).mean().backward()
    for (key, ours), theirs in zip(separate.named_parameters(), merged.parameters(), strict=True):
        if ours.grad is not None:
            torch.testing.assert_close(ours.grad, theirs.grad, msg=key)


def test_merged_filters_can_be_separated_again() -> None:
    network = NETWORKS["student"]()
    calls: list[torch.Size] = []
    network.encoders[0][0][1].register_forward_hook(lambda _, __, out: calls.append(out.shape))
    for enabled in (True, False):
        merge_filters(network, enabled)
        network(torch.rand(1, 3, 32, 32))
    assert len(calls) == 1
