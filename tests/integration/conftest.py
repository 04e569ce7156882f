"""The real Triton server, started once for all integration tests of a process."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from xpnet.card import Card, read_card
from xpnet.paths import MODEL_REPOSITORY
from xpnet.serving.cpu_runtimes import AUTO
from xpnet.serving.model_config import DEFAULT_MODEL
from xpnet.serving.onnx_inference import OnnxInference
from xpnet.serving.triton_server import ServerSettings, TritonServer, running_server

ONNX = MODEL_REPOSITORY / DEFAULT_MODEL / "1" / "model.onnx"
FREE_PORTS = {"http_port": 0, "grpc_port": 0, "metrics_port": 0}


@pytest.fixture(scope="session")
def server() -> Iterator[TritonServer]:
    with running_server(ServerSettings(**FREE_PORTS)) as running:
        yield running


@pytest.fixture
def own_server() -> Iterator[TritonServer]:
    """A server for one test, which may stop it."""
    with running_server(ServerSettings(models=(DEFAULT_MODEL,), **FREE_PORTS)) as running:
        yield running


@pytest.fixture
def card() -> Card:
    return read_card(MODEL_REPOSITORY / DEFAULT_MODEL / "card.json")


@pytest.fixture(scope="session")
def in_process() -> Iterator[OnnxInference]:
    inference = OnnxInference(ONNX, AUTO)  # the runtime of the server
    yield inference
    inference.close()
