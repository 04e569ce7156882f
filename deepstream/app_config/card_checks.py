"""Compares an inference config, and the file of deepstream-app, with the model's card.

Each function returns nothing and raises UserError for the first difference.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from deepstream.app_config import app_groups, infer_config, key_files, nvinferserver_schema
from deepstream.app_config.key_tables import DEEPSTREAM_APP_KEYS
from xpnet.card import Card
from xpnet.errors import UserError

TOLERANCE = 1e-6
"""Tolerance of scale and threshold: protobuf and nvinfer store 32-bit floats."""
Groups = dict[str, dict[str, str]]
"""The enabled groups of a deepstream-app file: key to value by group."""


def check_nvinferserver(path: Path, infer: Any, card: Card) -> None:
    """Compare nvinferserver's config with the card.

    Args:
        path: The config, for messages.
        infer: Its InferenceConfig message.
        card: The model's card.

    Raises:
        UserError: A tensor, a format, the scale or the threshold differs.
    """
    inputs, outputs = infer.backend.inputs, infer.backend.outputs
    for what, layers, tensor in (("input", inputs, card.input), ("output", outputs, card.output)):
        if layers:
            check_equal(path, what, ", ".join(x.name for x in layers), tensor.name, card)
    preprocess, segmentation = infer.preprocess, infer.postprocess.segmentation
    if preprocess.tensor_name:
        check_equal(path, "tensor_name", preprocess.tensor_name, card.input.name, card)
    check_scaling_filter(path, "frame_scaling_filter", str(preprocess.frame_scaling_filter))
    media_formats = nvinferserver_schema.ENUMS["MediaFormat"].split()
    found = media_formats[preprocess.network_format]
    expected = infer_config.MEDIA_FORMATS[card.input.colours]
    check_equal(path, "network_format", found, expected, card)
    tensor_orders = nvinferserver_schema.ENUMS["TensorOrder"].split()
    found = tensor_orders[preprocess.tensor_order]
    check_equal(path, "tensor_order", found, infer_config.TENSOR_ORDERS[card.input.layout], card)
    if infer.postprocess.WhichOneof("process_type") == "segmentation":
        threshold, classes = segmentation.threshold, segmentation.num_segmentation_classes
    else:  # `other`: tensors without postprocessing, for a custom graph
        threshold, classes = card.threshold, card.output.shape[1]
    check_tensors(
        path,
        card,
        dims=inputs[0].dims if inputs and inputs[0].dims else card.input.shape[1:],
        scale=preprocess.normalize.scale_factor,
        threshold=threshold,
        classes=classes,
    )


def check_tensors(
    path: Path, card: Card, dims: Iterable[int], scale: float, threshold: float, classes: int
) -> None:
    """Compare input size, scale, threshold and classes with the card.

    Args:
        path: The config, for messages.
        card: The model's card.
        dims: Channels, height and width of the input.
        scale: Factor from pixels of 0 to 255 to the input's value range.
        threshold: Probability above which a pixel is polyp.
        classes: Number of output channels.

    Raises:
        UserError: One of them differs.
    """
    check_equal(path, "input size", _dims_text(dims), _dims_text(card.input.shape[1:]), card)
    for what, found, expected in (
        ("scale", scale, infer_config.scale_factor(card.input)),
        ("threshold", threshold, card.threshold),
    ):
        if abs(found - expected) > TOLERANCE:
            check_equal(path, what, f"{found:.6g}", f"{expected:.6g}", card)
    check_equal(path, "classes", str(classes), str(card.output.shape[1]), card)


def _dims_text(dims: Iterable[int]) -> str:
    return " x ".join(map(str, dims))


def check_scaling_filter(path: Path, key: str, found: str) -> None:
    """Check that frames are shrunk by averaging areas, as in our preprocessing.

    Args:
        path: The config, for messages.
        key: The name of the plugin's scaling filter.
        found: Its value.

    Raises:
        UserError: It is another filter.
    """
    if found != str(infer_config.SUPER_SAMPLING):
        raise UserError(
            f"{path}: {key} {found}, expected {infer_config.SUPER_SAMPLING}: the network was "
            "trained on frames that were shrunk by averaging areas"
        )


def check_dla(path: Path, keys: dict[str, str], built: Card | None) -> None:
    """Check that nvinfer loads the plan for the DLA core that it was built for.

    Args:
        path: nvinfer's config, for messages.
        keys: Its keys and values.
        built: The card beside the plan; None if there is no plan yet.

    Raises:
        UserError: The core differs.
    """
    if built is None:
        return
    enabled = keys.get("enable-dla") in {"1", "true"}
    found = keys.get("use-dla-core", "0") if enabled else "none"
    dla = built.graph.get("dla")
    expected = "none" if dla is None else str(dla)
    if found != expected:
        raise UserError(
            f"{path}: DLA core {found}, expected {expected}, for which the plan was built: run "
            "`xpnet deploy` again"
        )


def check_equal(path: Path, what: str, found: str, expected: str, card: Card) -> None:
    """Check that a value is the card's.

    Args:
        path: The config, for messages.
        what: What is compared, for messages.
        found: The value in the config.
        expected: The value in the card.
        card: The model's card.

    Raises:
        UserError: The values differ.
    """
    if found != expected:
        raise UserError(
            f"{path}: {what} {found}, expected {expected} as in the card of {card.name}"
        )


def check_batch(path: Path, groups: Groups, sources: int, batch: int, max_batch: int) -> None:
    """Check that the batch has one frame, and the screen one tile, for each source.

    Args:
        path: The file of deepstream-app, for messages.
        groups: Its enabled groups.
        sources: Its number of sources.
        batch: The batch size of the inference config.
        max_batch: The largest batch of the plan.

    Raises:
        UserError: A batch size or the number of tiles does not match.
    """
    if batch > max_batch:
        raise UserError(f"{path}: batch {batch}, expected at most {max_batch} as in the plan")
    for group in ("streammux", "primary-gie", "segvisual"):
        found = groups.get(group, {}).get("batch-size")
        if found is not None and int(found) != sources:
            raise UserError(
                f"{path}: [{group}] batch-size={found}, expected {sources}, the number of sources"
            )
    if batch < sources:
        raise UserError(f"{path}: batch {batch} in the inference config, expected {sources} or "
                        "more, the number of sources")  # fmt: skip
    display = groups.get("tiled-display")
    if display is None:
        return
    tiles = int(display.get("rows", 1)) * int(display.get("columns", 1))
    if tiles < sources:
        raise UserError(
            f"{path}: [tiled-display] has {tiles} tiles, expected {sources} or more, the number of "
            "sources"
        )


def check_segvisual_size(path: Path, groups: Groups, card: Card) -> None:
    """Check that nvsegvisual has the size of the network's output.

    Args:
        path: The file of deepstream-app, for messages.
        groups: Its enabled groups.
        card: The model's card.

    Raises:
        UserError: The size differs.
    """
    segvisual = groups.get("segvisual")
    if segvisual is None:
        return
    # The parser's defaults are 1280 x 720.
    found = (int(segvisual.get("height", 720)), int(segvisual.get("width", 1280)))
    expected = (card.output.height, card.output.width)
    check_equal(path, "[segvisual] size", _dims_text(found), _dims_text(expected), card)


def check_live_settings(path: Path, groups: Groups, sources: list[dict[str, str]]) -> None:
    """Check that neither the muxer nor a sink waits for the clock if all sources are live.

    Args:
        path: The file of deepstream-app, for messages.
        groups: Its enabled groups.
        sources: Keys and values of its `[sourceN]` groups.

    Raises:
        UserError: The muxer or a sink waits.
    """
    live_types = {str(app_groups.SOURCE_V4L2), str(app_groups.SOURCE_RTSP)}
    if not sources or any(source.get("type") not in live_types for source in sources):
        return
    live_source = groups["streammux"].get("live-source", "0")
    if live_source != "1":
        raise UserError(
            f"{path}: [streammux] live-source={live_source}, expected 1 for live sources"
        )
    for name, keys in groups.items():
        is_sink = key_files.find_group(name, DEEPSTREAM_APP_KEYS) == "sinkN"
        if is_sink and keys.get("sync", "0") != "0":
            raise UserError(f"{path}: [{name}] sync={keys['sync']}, expected 0 for live sources")
