"""perf_analyzer: its CSV, its input data, and its errors."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import numpy as np
import pytest

from tests.xpnet.conftest import write_executable
from xpnet.bench import perf_analyzer
from xpnet.bench.perf_analyzer import LoadSettings, PerfAnalyzer, read_csv, write_requests
from xpnet.errors import UserError

HEADER = (
    "Concurrency,Inferences/Second,Client Send,Network+Server Send/Recv,Server Queue,"
    "Server Compute Input,Server Compute Infer,Server Compute Output,Client Recv,p50 latency,"
    "p90 latency,p95 latency,p99 latency"
)


def test_csv_rows_are_sorted_by_concurrency_and_in_milliseconds(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(
        f"{HEADER}\n2,89.3,8,2307,5763,141,13651,435,3,21358,33449,35641,45534\n"
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
    [("", "no rows"), (HEADER, "no rows"), ("a,b\n1,2\n", "no column 'Concurrency'")],
    ids=["empty", "header only", "other columns"],
)
def test_other_file_than_a_csv_of_perf_analyzer_is_rejected(
    tmp_path: Path, text: str, message: str
) -> None:
    path = tmp_path / "a.csv"
    path.write_text(text)
    with pytest.raises(UserError, match=message):
        read_csv(path)


def test_requests_contain_the_bytes_of_the_tensors(tmp_path: Path) -> None:
    tensor = np.random.default_rng(0).random((3, 4, 5), dtype=np.float32)
    write_requests(tmp_path / "r.json", "frames", [tensor, tensor + 1])
    first, second = json.loads((tmp_path / "r.json").read_text())["data"]
    assert first["frames"]["shape"] == [3, 4, 5]
    for entry, expected in ((first, tensor), (second, tensor + 1)):
        content = base64.b64decode(entry["frames"]["content"]["b64"])
        np.testing.assert_array_equal(np.frombuffer(content, "<f4").reshape(3, 4, 5), expected)


def test_missing_program_gives_the_install_command(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(perf_analyzer, "BUNDLED_DIR", tmp_path)
    with pytest.raises(UserError, match=r"not installed: run scripts/setup\.sh --bench"):
        PerfAnalyzer()


@pytest.mark.parametrize(
    ("commands", "message"),
    [
        (
            "echo error: connection refused >&2; exit 2",
            "m at host:8001 over grpc: connection refused",
        ),
        (
            "echo Pass [1] throughput; echo Error: Pass contained only one request; exit 2",
            "one request only ended in a measurement window: expected a longer --window-ms",
        ),
        ("true", "exit code 0, no output"),  # ends without an error, but writes no CSV
    ],
)
def test_failure_of_the_program_on_path_gives_its_reason(
    bin_dir: Path, tmp_path: Path, commands: str, message: str
) -> None:
    version = "[ $1 = --version ] && echo Version 9.9 && exit"
    write_executable(bin_dir / "perf_analyzer", f"#!/bin/sh\n{version}\n{commands}\n")
    program = PerfAnalyzer()
    assert program.version == "9.9"
    load = LoadSettings("m", "host:8001", "grpc", tmp_path / "r.json", 4, 1, 1, 100)
    with pytest.raises(UserError, match=message):
        program.measure(load, tmp_path / "a.csv")
    assert list(tmp_path.iterdir()) == [bin_dir]
