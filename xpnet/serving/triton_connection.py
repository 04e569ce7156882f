"""A connection to a running Triton, and whether it serves the model of a card."""

from __future__ import annotations

from typing import Any

from xpnet.addresses import check_server, is_loopback
from xpnet.card import Card
from xpnet.errors import UserError, require

ANSWER_S = 10.0
"""What a server may take to say what it serves."""


def connect(url: str) -> Any:
    """A gRPC client of the server at `url`, HOST:PORT; nothing is sent yet.

    Raises:
        UserError: tritonclient is missing, or that is no HOST:PORT.
    """
    check_server(url, "Triton")
    try:
        from tritonclient import grpc
    except ImportError as error:
        raise require("tritonclient", "inference through Triton", "scripts/setup.sh") from error
    return grpc.InferenceServerClient(url, channel_args=_channel_args(url))


def check_model(client: Any, url: str, model: str, card: Card) -> None:
    """Raises UserError where no server answers, or `model` is not ready or not that of the card."""
    from tritonclient.utils import InferenceServerException

    try:
        if not client.is_model_ready(model, client_timeout=ANSWER_S):
            raise UserError(f"Triton at {url}: model '{model}' is not ready")
        metadata = client.get_model_metadata(model, as_json=True, client_timeout=ANSWER_S)
    except InferenceServerException as error:
        raise UserError(f"no Triton server answers at {url}: {error}") from error
    served = {
        t["name"]: [int(d) for d in t["shape"]]
        for t in metadata.get("inputs", []) + metadata.get("outputs", [])
    }
    for spec in (card.input, card.output):
        if served.get(spec.name) != list(spec.shape):
            raise UserError(
                f"Triton at {url}: model '{model}' has {served}, expected "
                f"{spec.name} {list(spec.shape)} as in its card"
            )


def check_served(url: str, model: str, card: Card) -> None:
    """As `check_model`, by a connection for this alone."""
    client = connect(url)
    try:
        check_model(client, url, model, card)
    finally:
        client.close()


def _channel_args(url: str) -> list[tuple[str, int]]:
    """Tritonclient's own channel settings; a connection of its own; no proxy to this very machine.

    gRPC would share one connection between clients of the same address, with its pauses between
    attempts, which grow to two minutes (doc/connection-backoff.md of grpc/grpc).
    """
    unlimited = 2**31 - 1
    settings = [
        ("grpc.max_send_message_length", unlimited),
        ("grpc.max_receive_message_length", unlimited),
        ("grpc.use_local_subchannel_pool", 1),
    ]
    return [*settings, ("grpc.enable_http_proxy", 0)] if is_loopback(url) else settings
