"""`xpnet bench server` with the real perf_analyzer on the real server, in very short windows."""

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

SHORT = ("--window-ms", 100, "--concurrency", 2, "--transports", "grpc", "grpc+system")


def test_one_model_with_batching_on_and_off(xpnet, tmp_path: Path) -> None:
    out, page, plot = (tmp_path / f"out.{suffix}" for suffix in ("json", "md", "svg"))
    result = xpnet("bench", "server", "--models", DEFAULT_MODEL, *SHORT, "--rounds", 2, "--csv",
                   tmp_path / "csv", "--json", out, "--markdown", page, "--plot", plot)  # fmt: skip
    assert result.returncode == 0, result.stderr
    found = json.loads(out.read_text())
    measured = [(r["transport"], r["batching"], r["concurrency"]) for r in found["rows"]]
    assert measured == [
        (transport, batching, concurrency)
        for batching in ("on", "off")
        for transport in ("grpc", "grpc+system")
        for concurrency in (1, 2)
    ]
    assert all(0 < r["p50_ms"] <= r["p90_ms"] <= r["p99_ms"] for r in found["rows"])
    assert all(r["per_second"] > 0 and r["compute_ms"] > 0 for r in found["rows"])
    (against,) = found["against"]
    assert (against["transport"], len(against["rounds"])) == ("grpc+system", 2)
    kept = tmp_path / "csv" / f"{DEFAULT_MODEL}.grpc.batching-off.csv"
    assert [r.concurrency for r in read_csv(kept)] == [1, 2]
    assert page.read_text() == result.stdout
    assert b"<svg" in plot.read_bytes()[:1000]


def test_a_server_that_runs_already_and_the_model_for_frames(
    xpnet, server: TritonServer, tmp_path: Path
) -> None:
    result = xpnet("bench", "server", "--url", server.grpc_url, "--http-url", server.http_url,
                   "--models", "xpnet_frame", "--window-ms", 100, "--concurrency", 1, "--csv",
                   tmp_path, "--json", tmp_path / "o.json")  # fmt: skip
    assert result.returncode == 0, result.stderr
    found = json.loads((tmp_path / "o.json").read_text())
    assert [r["transport"] for r in found["rows"]] == ["http", "grpc", "grpc+system"]
    assert {r["batching"] for r in found["rows"]} == {"off"}
    assert [x.split(":")[0] for x in found["left_out"]] == ["grpc+cuda"]


def test_dead_server_wrong_model_and_wrong_url(xpnet, server: TritonServer, tmp_path: Path) -> None:
    def line(*options: object) -> str:
        return one_line(xpnet("bench", "server", *SHORT, "--csv", tmp_path, *options))

    assert "Triton at 127.0.0.1:1 does not answer" in line("--url", "127.0.0.1:1")
    assert "Triton 127.0.0.1: expected HOST:PORT" in line("--url", "127.0.0.1")
    assert "Triton http://a:1: expected HOST:PORT" in line("--url", "http://a:1")
    assert "no model 'nosuch'" in line("--models", "nosuch")
    found = line("--models", "nosuch", "--url", server.grpc_url)
    assert f"Triton at {server.grpc_url}: model 'nosuch' is not ready" in found
    assert list(tmp_path.iterdir()) == []


def test_batching_off_is_a_copy_that_serves(tmp_path: Path) -> None:
    copy = tmp_path / "models"
    without_batching(MODEL_REPOSITORY, (DEFAULT_MODEL,), copy)
    ours, theirs = (
        parse_config(copy / DEFAULT_MODEL / "config.pbtxt"),
        parse_config(MODEL_REPOSITORY / DEFAULT_MODEL / "config.pbtxt"),
    )
    assert theirs.HasField("dynamic_batching")
    assert not ours.HasField("dynamic_batching")
    ours.dynamic_batching.CopyFrom(theirs.dynamic_batching)
    assert ours == theirs
    with running_server(ServerSettings(copy, http_port=0, grpc_port=0, metrics_port=0)) as running:
        endpoint = Endpoint.of(running.grpc_url)
        assert endpoint.batching(DEFAULT_MODEL) == "off"
        assert not endpoint.has_model("nosuch")
