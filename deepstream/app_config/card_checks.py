"""Compares a config with the model's card, and the groups of a deepstream-app file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from deepstream.app_config import app_groups, infer_config, key_files, nvinferserver_schema
from deepstream.app_config.key_tables import APP
from xpnet.card import Card
from xpnet.errors import UserError

TOLERANCE = 1e-6
"""Tolerance of scale and threshold: protobuf and nvinfer store 32-bit floats."""
Groups = dict[str, dict[str, str]]
"""The enabled groups of a deepstream-app file, each key with its value."""


def check_infer_config(path: Path, infer: Any, card: Card) -> None:
    """Compare nvinferserver's InferenceConfig with the card. Raises UserError."""
    inputs, outputs = infer.backend.inputs, infer.backend.outputs
    for what, layers, tensor in (("input", inputs, card.input), ("output", outputs, card.output)):
        names = [x.name for x in layers]
        if names not in ([], [tensor.name]):
            raise UserError(
                f"{path}: {what} {', '.join(names)}, the card of {card.name} says {tensor.name}"
            )
    before, after = infer.preprocess, infer.postprocess.segmentation
    if before.tensor_name:
        check_same(path, "tensor_name", before.tensor_name, card.input.name)
    check_scaling_filter(path, "frame_scaling_filter", str(before.frame_scaling_filter))
    formats = nvinferserver_schema.ENUMS["MediaFormat"].split()
    expected = infer_config.FORMATS[card.input.colours][0]
    check_same(path, "network_format", formats[before.network_format], expected)
    orders = nvinferserver_schema.ENUMS["TensorOrder"].split()
    order = infer_config.ORDERS[card.input.layout]
    check_same(path, "tensor_order", orders[before.tensor_order], order)
    if infer.postprocess.WhichOneof("process_type") == "segmentation":
        threshold, classes = after.threshold, after.num_segmentation_classes
    else:  # `other`: raw tensors for a custom graph
        threshold, classes = card.threshold, card.output.shape[1]
    check_tensors_against_card(
        path,
        card,
        dims=list(inputs[0].dims) if inputs and inputs[0].dims else list(card.input.shape[1:]),
        scale=before.normalize.scale_factor,
        threshold=threshold,
        classes=classes,
    )


def check_tensors_against_card(
    path: Path, card: Card, dims: list[int], scale: float, threshold: float, classes: int
) -> None:
    """Compare size, scale, threshold and classes with the card. Raises UserError."""
    check_same(path, "input size", _size(dims), _size(card.input.shape[1:]))
    for what, found, expected in (
        ("scale", scale, infer_config.scale_factor(card.input)),
        ("threshold", threshold, card.threshold),
    ):
        if abs(found - expected) > TOLERANCE:
            raise UserError(f"{path}: {what} {found:.6g}, the card says {expected:.6g}")
    check_same(path, "classes", str(classes), str(card.output.shape[1]))


def check_scaling_filter(path: Path, key: str, found: str) -> None:
    """Check that frames are shrunk by averaging, as in our preprocessing. Raises UserError."""
    if found != str(infer_config.SUPER_SAMPLING):
        raise UserError(
            f"{path}: {key} {found}, expected {infer_config.SUPER_SAMPLING}: the network was "
            "trained on frames that were shrunk by averaging areas"
        )


def _size(dims: Any) -> str:
    return " x ".join(map(str, dims))


def check_same(path: Path, what: str, found: str, expected: str) -> None:
    """Check that a value is the card's. Raises UserError."""
    if found != expected:
        raise UserError(f"{path}: {what} {found}, the card says {expected}")


def check_batch(path: Path, groups: Groups, sources: int, batch: int, most: int) -> None:
    """Check that the batch has one frame and one tile for each source. Raises UserError."""
    if batch > most:
        raise UserError(f"{path}: batch {batch}, the plan's largest is {most}")
    for group in ("streammux", "primary-gie", "segvisual"):
        found = groups.get(group, {}).get("batch-size")
        if found is not None and int(found) != sources:
            raise UserError(f"{path}: [{group}] batch-size={found}, but {sources} sources")
    if batch < sources:
        raise UserError(f"{path}: inference takes batches of {batch}, but {sources} sources")
    tiles = groups.get("tiled-display")
    if tiles and int(tiles.get("rows", 1)) * int(tiles.get("columns", 1)) < sources:
        raise UserError(f"{path}: [tiled-display] has fewer tiles than {sources} sources")


def check_segvisual_size(path: Path, groups: Groups, card: Card) -> None:
    """Check that nvsegvisual has the size of the output. Raises UserError."""
    seg = groups.get("segvisual")
    if seg is None:
        return
    found = (int(seg.get("height", 720)), int(seg.get("width", 1280)))  # the parser's defaults
    expected = (card.output.height, card.output.width)
    if found != expected:
        raise UserError(
            f"{path}: [segvisual] {found[0]} x {found[1]}, the card's output is "
            f"{expected[0]} x {expected[1]}"
        )


def check_live_settings(path: Path, groups: Groups, sources: list[dict[str, str]]) -> None:
    """Check that neither the muxer nor a sink waits if all sources are live. Raises UserError."""
    live = {str(app_groups.V4L2), str(app_groups.RTSP)}
    if not sources or any(source.get("type") not in live for source in sources):
        return
    if groups["streammux"].get("live-source") != "1":
        raise UserError(f"{path}: live sources, but [streammux] has no live-source=1")
    for name, keys in groups.items():
        if key_files.group_name(name, APP) == "sinkN" and keys.get("sync", "0") != "0":
            raise UserError(f"{path}: live sources, but [{name}] has sync={keys['sync']}")
