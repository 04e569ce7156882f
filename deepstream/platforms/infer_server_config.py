"""nvinferserver's config for a run: the user's file, or one made from the model's card."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from deepstream.app_config import nvinferserver_schema
from deepstream.app_config.config_check import ConfigChecker
from deepstream.app_config.infer_config import (
    LABELS_FILE,
    LABELS_TEXT,
    GrpcServer,
    grpc_config,
    in_process_config,
)
from deepstream.platforms.base import Model
from xpnet.card import Card, read_model_card
from xpnet.errors import UserError
from xpnet.serving.model_config import check_config
from xpnet.serving.triton_connection import check_served, shares_cuda_memory


@contextmanager
def open_infer_config(
    path: Path | None, model: Model, *, url: str, probabilities: bool, jetson: bool
) -> Iterator[tuple[Card, Path]]:
    """Check the config for nvinferserver, or write a temporary one for the `with` block.

    Args:
        path: The user's config, or None to make one.
        model: The model that nvinferserver runs.
        url: HOST:PORT of a running Triton's gRPC service; empty runs Triton inside the graph.
        probabilities: Whether the probe reads the network's probabilities instead of the mask.
        jetson: Whether this machine is a Jetson.

    Yields:
        The model's card and the path of the config.

    Raises:
        UserError: The model or its plan is missing, the config does not match the card, or no
            server answers at the address that the config names.
    """
    card = read_model_card(model.repository, model.name)
    check_config(model.folder / "config.pbtxt", card)
    if path is not None:
        _check(path, model, card, probabilities)
        yield card, path.absolute()
        return
    with TemporaryDirectory(prefix="xpnet-") as folder:
        made = Path(folder) / "nvinferserver.txt"
        (Path(folder) / LABELS_FILE).write_text(LABELS_TEXT, encoding="utf-8")
        made.write_text(_config_text(card, model, url, probabilities, jetson), encoding="utf-8")
        _check(made, model, card, probabilities)
        yield card, made


def _config_text(card: Card, model: Model, url: str, probabilities: bool, jetson: bool) -> str:
    if url:
        server = GrpcServer.at_address(url, jetson)
        # nvinferserver does not fall back: if it cannot register a buffer, every batch fails.
        if server.share_cuda and not shares_cuda_memory(url):
            server = replace(server, share_cuda=False)
        text = grpc_config(card, 1, server, probabilities)
    else:
        text = in_process_config(card, 1, str(model.repository.absolute()), probabilities)
    control = nvinferserver_schema.parse(text, model.name)
    # One card describes both the plan and the ONNX model of a network.
    control.infer_config.backend.triton.model_name = model.name
    return nvinferserver_schema.to_text(control)


def _check(path: Path, model: Model, card: Card, probabilities: bool) -> None:
    """Check a config against NVIDIA's schema, the card, the server, and what the probe reads."""
    ConfigChecker(model.repository).check(path)
    control = nvinferserver_schema.parse(path.read_text(encoding="utf-8"), str(path))
    served = control.infer_config.backend.triton.model_name
    if served != model.name:
        raise UserError(f"{path}: serves {served}, expected {model.name}")
    if probabilities and not control.output_control.output_tensor_meta:
        raise UserError(
            f"{path}: --probabilities needs output_control {{output_tensor_meta: true}}"
        )
    if not probabilities and not control.infer_config.postprocess.HasField("segmentation"):
        raise UserError(f"{path}: no postprocess {{segmentation}}: it makes no masks")
    interval = control.input_control.interval
    if interval:
        raise UserError(
            f"{path}: interval {interval}, expected 0: use --mode latest --interval {interval}"
        )
    grpc = control.infer_config.backend.triton.grpc
    if grpc.url:
        check_served(grpc.url, model.name, card)
        if grpc.enable_cuda_buffer_sharing and not shares_cuda_memory(grpc.url):
            raise UserError(
                f"{path}: enable_cuda_buffer_sharing: Triton at {grpc.url} refuses it, as `xpnet "
                "serve` with --host does"
            )
