"""Connects to a running Triton and checks that it serves the model of a card."""

from __future__ import annotations

from typing import Any

from xpnet.addresses import check_server, is_loopback
from xpnet.card import Card
from xpnet.errors import UserError, not_installed
from xpnet.paths import setup_command

DATATYPES = {"float32": "FP32"}
"""Triton's name of the type of a card's tensors."""
ANSWER_S = 10.0
"""Timeout of a server's answer about its models."""
BY_NAME = "dns:///"
"""Prefix of an address that stands for several servers; gRPC connects to all of them."""


def connect(url: str) -> Any:
    """Return a gRPC client for a server; nothing is sent yet.

    Args:
        url: HOST:PORT of the gRPC service, or dns:///NAME:PORT: the requests go alternately to all
            servers that NAME stands for, such as the pods of a headless Service.

    Raises:
        UserError: tritonclient is missing, or `url` has another form.
    """
    check_server(url.removeprefix(BY_NAME), "Triton")
    try:
        from tritonclient import grpc
    except ImportError as error:
        raise not_installed("tritonclient", "Triton inference", setup_command()) from error
    return grpc.InferenceServerClient(url, channel_args=_channel_args(url))


def check_model(client: Any, url: str, model: str, card: Card) -> None:
    """Check that a server serves a model as its card describes it.

    Args:
        client: A client of `connect`.
        url: HOST:PORT, for messages.
        model: Name of the model.
        card: Its card.

    Raises:
        UserError: No server answers, the model is not ready, or its tensors differ from the card's.
    """
    from tritonclient.utils import InferenceServerException

    try:
        if not client.is_model_ready(model, client_timeout=ANSWER_S):
            raise UserError(f"Triton at {url}: model '{model}' is not ready")
        metadata = client.get_model_metadata(model, as_json=True, client_timeout=ANSWER_S)
    except InferenceServerException as error:
        raise UserError(f"no Triton server answers at {url}: {error}") from error
    served = {
        t["name"]: f"{t['datatype']} {[int(d) for d in t['shape']]}"
        for t in metadata.get("inputs", []) + metadata.get("outputs", [])
    }
    for spec in (card.input, card.output):
        expected = f"{DATATYPES[spec.dtype]} {list(spec.shape)}"
        if served.get(spec.name) != expected:
            found = ", ".join(f"{name} {tensor}" for name, tensor in served.items())
            raise UserError(
                f"Triton at {url}: model '{model}' has {found}, expected {spec.name} {expected} "
                "as in its card"
            )


def check_served(url: str, model: str, card: Card) -> None:
    """Connect and check as `check_model` does.

    Args:
        url: HOST:PORT of the gRPC service.
        model: Name of the model.
        card: Its card.
    """
    client = connect(url)
    try:
        check_model(client, url, model, card)
    finally:
        client.close()


def shares_cuda_memory(url: str) -> bool:
    """Return whether a server lets its clients register CUDA buffers.

    `xpnet serve` with a `--host` does not, nor does a server without a GPU.

    Args:
        url: HOST:PORT of the gRPC service.
    """
    from tritonclient.utils import InferenceServerException

    client = connect(url)
    try:
        client.get_cuda_shared_memory_status(client_timeout=ANSWER_S)
    except InferenceServerException:
        return False
    finally:
        client.close()
    return True


def _channel_args(url: str) -> list[tuple[str, int | str]]:
    """Return channel settings: an own connection, and no proxy for this machine.

    gRPC would share one connection between clients of the same address, together with its pauses
    between attempts, which grow to two minutes (doc/connection-backoff.md of grpc/grpc).
    """
    unlimited = 2**31 - 1
    settings: list[tuple[str, int | str]] = [
        ("grpc.max_send_message_length", unlimited),
        ("grpc.max_receive_message_length", unlimited),
        ("grpc.use_local_subchannel_pool", 1),
    ]
    if url.startswith(BY_NAME):
        return [*settings, ("grpc.lb_policy_name", "round_robin")]
    return [*settings, ("grpc.enable_http_proxy", 0)] if is_loopback(url) else settings
