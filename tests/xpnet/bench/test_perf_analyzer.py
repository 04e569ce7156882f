"""perf_analyzer's CSV, the requests it is given, and how its absence and its failures are told."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import numpy as np
import pytest

from xpnet.bench import perf_analyzer
from xpnet.bench.perf_analyzer import Load, PerfAnalyzer, read_csv, write_requests
from xpnet.bench.server_bench import BenchSettings
from xpnet.errors import UserError

HEAD = (
    "Concurrency,Inferences/Second,Client Send,Network+Server Send/Recv,Server Queue,"
    "Server Compute Input,Server Compute Infer,Server Compute Output,Client Recv,p50 latency,"
    "p90 latency,p95 latency,p99 latency"
)


def test_rows_come_by_concurrency_in_milliseconds(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(
        f"{HEAD}\n2,89.3,8,2307,5763,141,13651,435,3,21358,33449,35641,45534\n"
        "1,83.1,8,369,88,122,11018,382,4,11241,16242,18286,22112\n"
    )
    one, two = read_csv(path)
    assert (one.concurrency, two.concurrency) == (1, 2)
    assert (one.per_second, one.p50_ms, one.p90_ms, one.p99_ms) == (83.1, 11.241, 16.242, 22.112)
    assert (one.queue_ms, one.compute_ms) == (0.088, 11.018)
    assert one.moved_ms == pytest.approx(0.122 + 0.382)
    assert one.network_ms == pytest.approx(0.008 + 0.369 + 0.004)


@pytest.mark.parametrize(
    ("text", "message"),
    [("", "no row in it"), (HEAD, "no row in it"), ("a,b\n1,2\n", "no column 'Concurrency'")],
)
def test_another_file_is_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "a.csv"
    path.write_text(text)
    with pytest.raises(UserError, match=message):
        read_csv(path)


def test_requests_hold_the_very_bytes(tmp_path: Path) -> None:
    tensor = np.random.default_rng(0).random((3, 4, 5), dtype=np.float32)
    write_requests(tmp_path / "r.json", "frames", [tensor, tensor + 1])
    first, second = json.loads((tmp_path / "r.json").read_text())["data"]
    assert first["frames"]["shape"] == [3, 4, 5]
    for entry, wanted in ((first, tensor), (second, tensor + 1)):
        content = base64.b64decode(entry["frames"]["content"]["b64"])
        np.testing.assert_array_equal(np.frombuffer(content, "<f4").reshape(3, 4, 5), wanted)


def test_absence_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(perf_analyzer, "BUNDLED", tmp_path)
    with pytest.raises(UserError, match=r"not installed: .*scripts/setup\.sh --bench"):
        PerfAnalyzer()


def program(folder: Path, text: str) -> None:
    path = folder / "perf_analyzer"
    path.write_text(f"#!/bin/sh\n[ $1 = --version ] && echo Version 9.9 && exit\n{text}\n")
    path.chmod(0o755)


def test_the_one_on_path_comes_first_and_its_reason_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    program(tmp_path, "echo error: the cable is out >&2; exit 2")
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    found = PerfAnalyzer()
    assert found.version == "9.9"
    load = Load("m", "host:8001", "grpc", tmp_path / "r.json", 4, 1, 1, 100)
    with pytest.raises(UserError, match="m at host:8001 by grpc: the cable is out"):
        found.measure(load, tmp_path / "a.csv")
    program(tmp_path, "true")  # ends well and writes nothing
    with pytest.raises(UserError, match="exit code 0, no output"):
        found.measure(load, tmp_path / "a.csv")
    assert {p.name for p in tmp_path.iterdir()} == {"perf_analyzer"}


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"concurrency": 0}, "--concurrency 0: expected at least 1"),
        ({"window_ms": 5}, "--window-ms 5"),
        ({"rounds": -1}, "--rounds -1"),
        ({"transports": ("ftp",)}, "transport 'ftp': expected some of http, grpc"),
        ({"http_url": "a:1"}, "give --url"),
    ],
)
def test_wrong_settings_are_named(wrong: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        BenchSettings(frames=(), csv=Path("x"), **wrong)
