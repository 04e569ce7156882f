"""One address for several Triton servers, and clients that are told to connect again."""

from __future__ import annotations

import re
import subprocess
import time
import urllib.request
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import ROOT
from tests.integration.conftest import FREE_PORTS
from xpnet.card import Card
from xpnet.errors import UserError
from xpnet.frames import frame_to_tensor
from xpnet.inference import InferenceError
from xpnet.serving import triton_connection
from xpnet.serving.model_config import DEFAULT_MODEL
from xpnet.serving.onnx_inference import OnnxInference
from xpnet.serving.triton_client import TritonInference
from xpnet.serving.triton_server import ServerSettings, TritonServer, port_of, running_server

pytestmark = pytest.mark.integration
REQUESTS = 20


def requests_answered(server: TritonServer) -> int:
    with urllib.request.urlopen(f"http://{server.metrics_url}/metrics", timeout=5) as answer:
        text = answer.read().decode()
    found = re.search(
        r'^nv_inference_request_success\{model="xpnet_lite_onnx".* (\d+)$', text, re.M
    )
    assert found is not None
    return int(found[1])


def answered_by_each(servers: tuple[TritonServer, ...], total: int) -> list[int]:
    """Requests that each server has answered, as soon as they are ``total``, or after 10 s.

    Triton counts a request after it has sent the answer, so the last one may be missing at first.
    """
    end = time.monotonic() + 10
    while True:
        answered = [requests_answered(server) for server in servers]
        if sum(answered) >= total or time.monotonic() > end:
            return answered
        time.sleep(0.05)


def local_ports(port: int) -> set[str]:
    """The ports of this machine's connections to a server's port."""
    tables = [Path("/proc/net", name).read_text() for name in ("tcp", "tcp6")]
    rows = [line.split() for table in tables for line in table.splitlines()[1:]]
    established = "01"
    return {
        row[1].rpartition(":")[2]
        for row in rows
        if row[3] == established and int(row[2].rpartition(":")[2], 16) == port
    }


def test_address_by_name_gives_results(
    server: TritonServer, card: Card, in_process: OnnxInference, frames: list[np.ndarray]
) -> None:
    url = f"dns:///localhost:{port_of(server.grpc_url)}"
    inference = TritonInference(url, DEFAULT_MODEL, card)
    tensor = frame_to_tensor(frames[2], card.input.height, card.input.width)
    expected = in_process.submit(tensor).result()
    np.testing.assert_allclose(inference.submit(tensor).result(), expected, rtol=0, atol=1e-5)
    inference.close()


@pytest.mark.parametrize("url", ["dns:///localhost", "dns://localhost:8001", "dns:///a/b:8001"])
def test_malformed_address_by_name_is_refused(url: str) -> None:
    with pytest.raises(UserError, match=r"Triton .*: (expected HOST:PORT|port)"):
        triton_connection.connect(url)


def test_requests_go_to_all_servers_of_an_address(
    card: Card, frames: list[np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two addresses of this machine stand for two pods; no name has both, so they are listed."""
    monkeypatch.setattr(triton_connection, "BY_NAME", "ipv4:")
    one = ServerSettings(models=(DEFAULT_MODEL,), **FREE_PORTS)
    with running_server(one) as first:
        port = port_of(first.grpc_url)
        two = replace(one, host="127.0.0.2", grpc_port=port)
        with running_server(two) as second:
            before = [requests_answered(s) for s in (first, second)]
            url = f"ipv4:127.0.0.1:{port},127.0.0.2:{port}"
            inference = TritonInference(url, DEFAULT_MODEL, card)
            tensor = frame_to_tensor(frames[2], card.input.height, card.input.width)
            for _ in range(REQUESTS):
                inference.submit(tensor).result()
            after = answered_by_each((first, second), sum(before) + REQUESTS)
        # Without the second one, requests fail until the client has connected again.
        end = time.monotonic() + 30
        answered = 0
        while answered < REQUESTS and time.monotonic() < end:
            try:
                inference.submit(tensor).result()
                answered += 1
            except InferenceError:
                answered = 0
                time.sleep(0.1)
        inference.close()
    assert answered == REQUESTS
    shares = [b - a for a, b in zip(before, after, strict=True)]
    assert sum(shares) == REQUESTS
    assert min(shares) >= REQUESTS // 2 - 2


def test_clients_connect_again_after_the_maximum_age(card: Card, frames: list[np.ndarray]) -> None:
    settings = ServerSettings(models=(DEFAULT_MODEL,), max_connection_age_s=1, **FREE_PORTS)
    tensor = frame_to_tensor(frames[2], card.input.height, card.input.width)
    with running_server(settings) as server:
        inference = TritonInference(server.grpc_url, DEFAULT_MODEL, card)
        ports: set[str] = set()
        end = time.monotonic() + 6
        while time.monotonic() < end:
            inference.submit(tensor).result()  # raises if the request failed
            ports |= local_ports(port_of(server.grpc_url))
        assert inference.outages == 0
        inference.close()
    assert len(ports) >= 3


def test_metrics_of_the_autoscaler_are_those_of_triton(server: TritonServer) -> None:
    rules = (ROOT / "docker" / "kubernetes" / "prometheus-adapter-rules.yaml").read_text()
    names = set(re.findall(r"\bnv_\w+", rules))
    assert len(names) == 2
    with urllib.request.urlopen(f"http://{server.metrics_url}/metrics", timeout=5) as answer:
        text = answer.read().decode()
    for name in names:
        assert f'\n{name}{{model="xpnet_lite_onnx"' in text, name


def test_wrong_age_is_refused(xpnet: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    result = xpnet("serve", "--max-connection-age", "0")
    assert result.returncode == 2
    assert "0: expected 1 to 86400 seconds" in result.stderr
