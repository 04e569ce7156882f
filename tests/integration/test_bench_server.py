"""`xpnet bench server` with the real perf_analyzer and the real server, in short windows."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.conftest import one_line
from xpnet.bench.perf_analyzer import read_csv
from xpnet.bench.triton_endpoint import Endpoint
from xpnet.paths import MODEL_REPOSITORY
from xpnet.serving.model_config import DEFAULT_MODEL, parse_config
from xpnet.serving.model_repository import without_batching
from xpnet.serving.triton_server import ServerSettings, TritonServer, running_server

pytestmark = pytest.mark.integration

SHORT = ("--window-ms", 500, "--concurrency", 2, "--transports", "grpc", "grpc+system")


def test_model_is_measured_with_and_without_batching(xpnet, tmp_path: Path) -> None:
    out, page, plot = (tmp_path / f"out.{suffix}" for suffix in ("json", "md", "svg"))
    result = xpnet("bench", "server", "--full", "--models", DEFAULT_MODEL, *SHORT, "--rounds", 2,
                   "--csv", tmp_path / "csv", "--json", out, "--markdown", page,
                   "--plot", plot)  # fmt: skip
    assert result.returncode == 0, result.stderr
    report = json.loads(out.read_text())
    measured = [(r["transport"], r["batching"], r["concurrency"]) for r in report["rows"]]
    assert measured == [
        (transport, batching, concurrency)
        for batching in ("on", "off")
        for transport in ("grpc", "grpc+system")
        for concurrency in (1, 2)
    ]
    assert all(0 < r["p50_ms"] <= r["p90_ms"] <= r["p99_ms"] for r in report["rows"])
    assert all(r["per_second"] > 0 and r["compute_ms"] > 0 for r in report["rows"])
    (comparison,) = report["against"]
    assert (comparison["transport"], len(comparison["rounds"])) == ("grpc+system", 2)
    csv_file = tmp_path / "csv" / f"{DEFAULT_MODEL}.grpc.batching-off.csv"
    assert [m.concurrency for m in read_csv(csv_file)] == [1, 2]
    assert page.read_text() == result.stdout
    assert b"<svg" in plot.read_bytes()[:1000]


def test_running_server_and_the_frame_model_are_measured(
    xpnet, server: TritonServer, tmp_path: Path
) -> None:
    result = xpnet("bench", "server", "--url", server.grpc_url, "--http-url", server.http_url,
                   "--full", "--models", "xpnet_frame", "--window-ms", 500, "--concurrency", 1,
                   "--csv", tmp_path, "--json", tmp_path / "o.json")  # fmt: skip
    assert result.returncode == 0, result.stderr
    report = json.loads((tmp_path / "o.json").read_text())
    assert [r["transport"] for r in report["rows"]] == ["http", "grpc", "grpc+system"]
    assert {r["batching"] for r in report["rows"]} == {"off"}
    assert [reason.split(":")[0] for reason in report["left_out"]] == ["grpc+cuda"]


def test_wrong_server_or_model_gives_one_line(xpnet, server: TritonServer, tmp_path: Path) -> None:
    def error(*options: object) -> str:
        return one_line(xpnet("bench", "server", *SHORT, "--csv", tmp_path, *options))

    assert "Triton at 127.0.0.1:1 does not answer" in error("--url", "127.0.0.1:1")
    assert "Triton 127.0.0.1: expected HOST:PORT" in error("--url", "127.0.0.1")
    assert "Triton http://a:1: expected HOST:PORT" in error("--url", "http://a:1")
    assert "no model 'nosuch'" in error("--models", "nosuch")
    not_ready = f"Triton at {server.grpc_url}: model 'nosuch' is not ready"
    assert not_ready in error("--models", "nosuch", "--url", server.grpc_url)
    assert list(tmp_path.iterdir()) == []


def test_copy_without_batching_serves_the_same_model(tmp_path: Path) -> None:
    copy = tmp_path / "models"
    without_batching(MODEL_REPOSITORY, (DEFAULT_MODEL,), copy)
    changed, original = (
        parse_config(repository / DEFAULT_MODEL / "config.pbtxt")
        for repository in (copy, MODEL_REPOSITORY)
    )
    assert original.HasField("dynamic_batching")
    assert not changed.HasField("dynamic_batching")
    changed.dynamic_batching.CopyFrom(original.dynamic_batching)
    assert changed == original
    with running_server(ServerSettings(copy, http_port=0, grpc_port=0, metrics_port=0)) as running:
        endpoint = Endpoint.from_url(running.grpc_url)
        assert endpoint.batching(DEFAULT_MODEL) == "off"
        assert not endpoint.has_model("nosuch")
