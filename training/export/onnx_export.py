"""Exports weights to ONNX and compares the file with torch on real frames before it is written."""

from __future__ import annotations

import logging
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray

from training.export.layer_forms import Forms, apply_forms
from training.models.zoo import Network
from xpnet.card import METADATA_KEY, Card
from xpnet.errors import UserError
from xpnet.files import replacing
from xpnet.frames import Frame, frame_to_tensor
from xpnet.serving.model_config import onnx_name
from xpnet.serving.model_repository import write_repository

log = logging.getLogger("xpnet.export")

TOLERANCE = 1e-4
"""Largest accepted difference of a probability between torch and ONNX Runtime."""
OPSET = 17


def export_onnx(
    network: torch.nn.Module,
    card: Card,
    frames: list[Frame],
    path: Path,
    forms: Forms | None = None,
    tolerance: float = TOLERANCE,
) -> float:
    """Write an ONNX file with dynamic batch, the card's size, sigmoid and the card inside.

    Args:
        network: The network as trained.
        card: Its card.
        frames: Real frames, H x W x 3 uint8 RGB, on which ONNX Runtime and torch are compared.
        path: File to write.
        forms: Layer forms (training.export.layer_forms).
        tolerance: Largest accepted difference of a probability.

    Returns:
        The largest difference of a probability.

    Raises:
        UserError: The difference exceeds the tolerance (nothing is written then), or `path` cannot
            be written.
    """
    if not frames:
        raise UserError("the export is checked on real frames: none were given")
    card = card_of_graph(card, forms)
    try:
        deployed = apply_forms(network, forms or {})
    except ValueError as error:
        raise UserError(f"these forms are of another network: {error}") from error
    tensors = np.concatenate(
        [frame_to_tensor(f, card.input.height, card.input.width) for f in frames]
    )
    with replacing(path) as partial:
        _export(deployed, card, torch.from_numpy(tensors[:2]), partial)
        _embed(card, partial)
        difference = largest_difference(network, partial, card, tensors)
        if not difference <= tolerance:
            raise UserError(
                f"{path}: not written: ONNX and torch differ by {difference:.2e} on real frames, "
                f"expected at most {tolerance:.0e}"
            )
    log.debug("%s: largest difference from torch %.1e on %d frames", path, difference, len(frames))
    return difference


def export_repository(
    network: Network,
    card: Card,
    frames: list[Frame],
    repository: Path,
    plan_size: int,
    forms: Forms | None = None,
) -> float:
    """Write NAME_onnx, and the configs and cards of both models of a network.

    NAME is the card's. The plan is built on the target, at `plan_size` pixels; its config and card
    contain that size. Returns and raises as `export_onnx` does.
    """
    engine = card.at_size(plan_size, plan_size)  # refused before anything is written
    folder = repository / onnx_name(card) / "1"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{repository}: cannot be written: {error.strerror}") from error
    difference = export_onnx(network, card, frames, folder / "model.onnx", forms)
    write_repository(repository, engine, card_of_graph(card, forms))
    for stale in ("1/model.plan", "onnx/fp16.onnx", "onnx/int8.onnx"):
        path = repository / engine.name / stale
        if path.is_file():
            log.warning("%s was made from the previous weights: make it again", path)
    return difference


def card_of_graph(card: Card, forms: Forms | None) -> Card:
    """Return the card of weights with the forms in which they are exported."""
    return replace(card, graph={"precision": "fp32", "forms": forms or {}})


def largest_difference(
    network: torch.nn.Module, path: Path, card: Card, tensors: NDArray[np.float32]
) -> float:
    """Return the largest difference of a probability over N x 3 x H x W inputs, one by one."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    largest = 0.0
    for tensor in tensors[:, None]:
        (ours,) = session.run([card.output.name], {card.input.name: tensor})
        with torch.inference_mode():
            reference = network(torch.from_numpy(tensor)).numpy()
        difference = float(np.abs(ours - reference).max())
        # A NaN must fail the comparison instead of passing through max().
        largest = difference if np.isnan(difference) else max(largest, difference)
    return largest


def _export(network: torch.nn.Module, card: Card, example: torch.Tensor, path: Path) -> None:
    batch: dict[str, Any] = {card.input.name: {0: "batch"}, card.output.name: {0: "batch"}}
    with warnings.catch_warnings():
        # The tracing exporter needs no further package and writes plain operators, which TensorRT's
        # parser supports best; torch warns that another exporter is the default now.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network,
            (example,),
            str(path),
            input_names=[card.input.name],
            output_names=[card.output.name],
            dynamic_axes=batch,
            opset_version=OPSET,
            dynamo=False,
        )


def _embed(card: Card, path: Path) -> None:
    """Check the graph and store the card in its metadata."""
    model = onnx.load(str(path))
    onnx.checker.check_model(model)
    onnx.helper.set_model_props(model, {METADATA_KEY: card.to_json()})
    onnx.save(model, str(path))
