"""Weights on disk: safetensors with their card beside them, and nothing that is unpickled."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import nn

from training.models.zoo import NETWORKS, Network
from xpnet.card import Card, read_card
from xpnet.errors import UserError
from xpnet.files import write_bytes


def save_weights(network: nn.Module, path: Path, dtype: torch.dtype = torch.float32) -> None:
    """Writes the state of a network as safetensors, floats as `dtype`, through a temporary name.

    Raises:
        UserError: `path` cannot be written, for instance on a full disk.
    """
    state = {
        key: (value.to(dtype) if value.is_floating_point() else value).cpu().contiguous()
        for key, value in network.state_dict().items()
    }
    write_bytes(path, save(state))


def load_weights(network: nn.Module, path: Path) -> None:
    """Loads safetensors into a network; float16 widens to the network's float32.

    Raises:
        UserError: no such file, no safetensors, or the weights of another network.
    """
    try:
        network.load_state_dict(load_file(path))
    except (OSError, RuntimeError) as error:
        raise UserError(f"{path}: not weights of this network: {str(error)[:200]}") from error
    except SafetensorError as error:
        raise UserError(f"{path}: not a safetensors file: {error}") from error


def load_network(weights: Path) -> tuple[Network, Card]:
    """The network of a safetensors file, in evaluation mode, and the card beside it.

    Raises:
        UserError: weights or card are missing or do not fit each other.
    """
    card = read_card(weights.with_suffix(".json"))
    if card.network not in NETWORKS:
        raise UserError(f"{weights}: network '{card.network}', known are {', '.join(NETWORKS)}")
    network = NETWORKS[card.network]()
    load_weights(network, weights)
    return network.eval(), card


def pack(weights: Path, output: Path) -> None:
    """Writes weights at half precision, with their card: what is shared of a large network.

    Raises:
        UserError: as `load_network`, or `output` cannot be written.
    """
    network, card = load_network(weights)
    save_weights(network, output, torch.float16)
    training = {**card.training, "stored_as": "float16"}
    replace(card, training=training).write(output.with_suffix(".json"))


def git_commit() -> str:
    """The commit of the code; 'unknown' outside a checkout or without git."""
    command = ["git", "rev-parse", "HEAD"]
    folder = Path(__file__).parent
    try:
        result = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    except OSError:  # no git on this machine
        return "unknown"
    return result.stdout.strip() or "unknown"
