"""The networks of `xpnet bench network` in every form, runtime and precision of this CPU."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from training.bench.layer_counts import multiply_adds
from training.bench.network_runtimes import Run, onnx_run, torch_run
from training.export.layer_forms import Forms, apply_forms, included_forms
from training.export.onnx_export import export_onnx
from training.export.precision import convert
from training.models.peers import PEERS, make_peer
from training.models.weight_files import load_network
from training.models.zoo import MODEL_NAMES, NETWORKS
from xpnet.card import Card, new_card, read_card
from xpnet.errors import UserError
from xpnet.frames import Frame, frame_to_tensor
from xpnet.serving.cpu_runtimes import best_runtime, computes_bf16
from xpnet.serving.model_config import onnx_name

TOLERANCE = 1e-2
"""Largest accepted difference of a probability from torch: fresh weights amplify rounding."""


@dataclass
class Row:
    """A network in one form.

    Attributes:
        network: A key of NETWORKS or of PEERS.
        parameters: Their number.
        multiply_adds: Of the convolutions, for one frame.
        graph: `trained` (torch), `exported`, or `tuned` (in the forms of `xpnet export tune`).
        runtime: One of training.bench.network_runtimes.
        precision: `fp32`, `bf16` or `uint8`.
        size: Height and width of the frames in pixels.
        batch: Frames of one call.
        shipped: Whether this machine serves the network in this form.
        median_ms: Median time of a call.
        p10_ms: 10th percentile.
        p90_ms: 90th percentile.
    """

    network: str
    parameters: int
    multiply_adds: int
    graph: str
    runtime: str
    precision: str
    size: int
    batch: int
    shipped: bool
    median_ms: float = 0.0
    p10_ms: float = 0.0
    p90_ms: float = 0.0


@dataclass(frozen=True)
class Subject:
    """A network with its card at one size.

    Attributes:
        network: The network, whose outputs are probabilities.
        card: Its card.
        forms: Forms in which it is also exported.
    """

    network: nn.Module
    card: Card
    forms: Forms


def check_networks(names: list[str]) -> None:
    """Raise UserError for a name that is no network and no peer."""
    unknown = [name for name in names if name not in (*NETWORKS, *PEERS)]
    if unknown:
        known = ", ".join((*NETWORKS, *PEERS))
        raise UserError(f"network '{unknown[0]}': expected some of {known}")


def open_subject(name: str, size: int, weights: Path, forms: dict[str, Forms]) -> Subject:
    """Return a network at a size; without weights it gets fresh ones, which take the same time.

    Args:
        name: A key of NETWORKS or of PEERS.
        size: Height and width in pixels.
        weights: Folder of weights.
        forms: Forms by network; without an entry, the included ones.

    Raises:
        UserError: The size is not a multiple of 16, or a peer's package is missing.
    """
    trained = weights / f"{name}.safetensors"
    torch.manual_seed(1)
    if name in PEERS:
        network: nn.Module = make_peer(name).eval()
        card = _fresh_card(name, "unet", network, size)
        return Subject(network, card, {})
    own = forms[name] if name in forms else included_forms(name, "fp32")
    if trained.is_file():
        network, card = load_network(trained)
    else:
        network = NETWORKS[name]().eval()
        card = _fresh_card(MODEL_NAMES[name], name, network, size)
    return Subject(network, card.at_size(size, size), own)


def candidates(
    name: str,
    subject: Subject,
    frames: list[Frame],
    batches: list[int],
    folder: Path,
    repository: Path,
) -> Iterator[tuple[Row, Callable[[], Run]]]:
    """Yield rows without a time, each with what prepares its run.

    Args:
        name: The network's name in the table.
        subject: The network.
        frames: Real frames, H x W x 3 uint8 RGB.
        batches: Frames of one call.
        folder: For the exported files.
        repository: The model repository, for `shipped`.
    """
    network, card = subject.network, subject.card
    size = card.input.height
    tensor = frame_to_tensor(frames[0], size, size)
    served = None if name in PEERS else _served(repository, card)
    count = multiply_adds(copy.deepcopy(network), size, size)
    floats = ["fp32", *(["bf16"] if computes_bf16() else [])]

    def row(graph: str, runtime: str, precision: str, batch: int) -> Row:
        shipped = batch == 1 and (graph, runtime, precision) == served
        return Row(
            name, card.parameters, count, graph, runtime, precision, size, batch, shipped
        )  # fmt: skip

    exported = list(_export_all(subject, frames, folder / name))
    for batch in batches:
        given = tensor.repeat(batch, axis=0)
        for kind in floats:
            yield (
                row("trained", "torch.compile", kind, batch),
                partial(torch_run, copy.deepcopy(network), given, kind),
            )
        for path, graph, is_quantised in exported:
            precisions = ["uint8"] if is_quantised else floats
            for runtime, precision in [
                ("onnxruntime", precisions[0]), *(("openvino", p) for p in precisions)
            ]:  # fmt: skip
                asked = precision if runtime == "openvino" and not is_quantised else None
                yield (
                    row(graph, runtime, precision, batch),
                    partial(onnx_run, path, card, given, runtime, asked),
                )


def _export_all(
    subject: Subject, frames: list[Frame], stem: Path
) -> Iterator[tuple[Path, str, bool]]:
    """Yield each exported file, its graph's name, and whether it is quantised."""
    forms = [("exported", {}), *([("tuned", subject.forms)] if subject.forms else [])]
    for graph, own in forms:
        path = stem.with_name(f"{stem.name}.{graph}.onnx")
        # The export compares with the rewritten network: only speed matters here.
        network = apply_forms(subject.network, own)
        export_onnx(network, subject.card, frames[:1], path, tolerance=TOLERANCE)
        yield path, graph, False
        quantised = path.with_suffix(".uint8.onnx")
        # Every convolution in INT8: keeping a few in float would cost little.
        convert(path, subject.card, frames, "uint8", quantised, agreement=0.0)
        yield quantised, graph, True


def _fresh_card(model: str, network_name: str, network: nn.Module, size: int) -> Card:
    count = sum(p.numel() for p in network.parameters())
    return new_card(model, network_name, count, size, licence="none", data=(), git_commit="none")


def _served(repository: Path, card: Card) -> tuple[str, str, str] | None:
    """Return graph, runtime and precision in which this machine serves a network, or None."""
    path = repository / onnx_name(card) / "card.json"
    if not path.is_file():
        return None
    graph, runtime = read_card(path).graph, best_runtime()
    precision: Any = graph.get("precision", "fp32")
    if precision == "fp32" and runtime == "openvino":
        precision = "bf16"  # best_runtime returns OpenVINO for bf16 only
    return ("tuned" if graph.get("forms") else "exported", runtime, precision)
