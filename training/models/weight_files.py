"""Weight files: safetensors, which need no unpickling, with a model card beside them."""

from __future__ import annotations

import functools
import logging
import os
import subprocess
from dataclasses import replace
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import nn

from training.models.zoo import Network, new_network
from xpnet import __version__
from xpnet.card import Card, read_card
from xpnet.checksums import check_file
from xpnet.errors import UserError
from xpnet.files import write_bytes
from xpnet.paths import IN_CHECKOUT, ROOT

log = logging.getLogger("xpnet.training")


def save_weights(network: nn.Module, path: Path, dtype: torch.dtype = torch.float32) -> None:
    """Write the state of a network as safetensors under a temporary name, then rename the file.

    Args:
        network: Network to save.
        path: File to write.
        dtype: Type of the floating-point tensors.

    Raises:
        UserError: The file cannot be written, for instance on a full disk.
    """
    state = {
        key: (value.to(dtype) if value.is_floating_point() else value).cpu().contiguous()
        for key, value in network.state_dict().items()
    }
    write_bytes(path, save(state))


def load_weights(network: nn.Module, path: Path) -> None:
    """Load a safetensors file into a network; float16 is converted to the network's float32.

    Raises:
        UserError: The file is missing, is not safetensors, has the weights of another network, or
            is listed and differs from its checksum.
    """
    check_file(path)
    try:
        network.load_state_dict(load_file(path))
    except (OSError, RuntimeError) as error:
        raise UserError(f"{path}: not weights of this network: {str(error)[:200]}") from error
    except SafetensorError as error:
        raise UserError(f"{path}: not a safetensors file: {error}") from error


def load_network(weights: Path) -> tuple[Network, Card]:
    """Return the network of a safetensors file, in evaluation mode, and the card beside it.

    Raises:
        UserError: Weights or card are missing or do not match.
    """
    card = read_card(weights.with_suffix(".json"))
    try:
        network = new_network(card.network)
    except UserError as error:
        raise UserError(f"{weights}: {error}") from error
    load_weights(network, weights)
    return network.eval(), card


def pack_weights(weights: Path, output: Path) -> None:
    """Write weights at half precision, with their card.

    Args:
        weights: Safetensors file to read.
        output: Safetensors file to write.

    Raises:
        UserError: Weights or card are missing or do not match, or `output` cannot be written.
    """
    network, card = load_network(weights)
    save_weights(network, output, torch.float16)
    training = {**card.training, "stored_as": "float16"}
    replace(card, training=training).write(output.with_suffix(".json"))


def git_commit() -> str:
    """Return the commit of the code: XPNET_GIT_COMMIT, else of the checkout, or 'unknown'.

    Code of an installed wheel is named by its version, which contains the commit.
    """
    if stated := os.environ.get("XPNET_GIT_COMMIT"):
        return stated
    if not IN_CHECKOUT:
        return f"xpnet {__version__}"
    command = ["git", "rev-parse", "HEAD"]
    try:
        result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    except OSError:  # git is not installed
        return _unknown_commit()
    return result.stdout.strip() or _unknown_commit()


@functools.cache  # said once, not for each card
def _unknown_commit() -> str:
    log.warning(
        "the card says git_commit 'unknown': this is not a git checkout; "
        "XPNET_GIT_COMMIT=COMMIT states it"
    )
    return "unknown"
