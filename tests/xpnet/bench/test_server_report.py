"""The table of `xpnet bench server`, and what Triton adds to a frame."""

from __future__ import annotations

from pathlib import Path

import pytest

from xpnet.bench.in_process import InProcess
from xpnet.bench.server_report import added_ms, as_markdown, comparison
from xpnet.errors import UserError

AGAINST = {
    "model": "m", "in_process_by": "openvino", "transport": "grpc+system", "concurrency": 2,
    "in_process_per_second": 100.0, "triton_per_second": 80.0, "ratio": 0.8,
    "rounds": [[100.0, 80.0], [50.0, 40.0], [100.0, 100.0]],
}  # fmt: skip


def found(most: int, against: list[dict]) -> dict:
    times = dict.fromkeys(
        ("p50_ms", "p90_ms", "p99_ms", "network_ms", "queue_ms", "moved_ms", "compute_ms"), 1.25
    )
    rows = [
        {"model": "m", "transport": "grpc", "batching": "on", "concurrency": n, "per_second": 9.0}
        | times
        for n in range(1, most + 1)
    ]
    return {
        "machine": "a machine", "cores": 2, "date": "2026-11-24", "load_before": 0.5,
        "triton": "2.51.0", "runtime": "openvino", "perf_analyzer": "2.51.0", "window_ms": 500,
        "rows": rows, "against": against, "left_out": ["grpc+cuda: no GPU"],
    }  # fmt: skip


def test_what_triton_adds_is_the_median_of_the_rounds() -> None:
    assert added_ms(AGAINST) == pytest.approx(1000 / 80 - 1000 / 100)
    lines = comparison(found(1, [AGAINST]))
    assert lines[2] == "| `m` | openvino | 100.0 | 80.0 | 0.800 | 2.5 ms |"
    assert "2 requests at a time, by grpc+system, 3 rounds" in lines[-1]
    assert comparison(found(1, [])) == []


def test_the_table_shows_some_and_the_most() -> None:
    page = as_markdown(found(3, []))
    shown = [line.split("|")[4].strip() for line in page.splitlines() if line.startswith("| `m`")]
    assert shown == ["1", "2", "3"]
    assert page.endswith("Left out: grpc+cuda: no GPU.\n")
    assert "load of the machine before it started 0.5." in page


def test_a_model_that_does_not_load_in_process_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"model\.onnx: no such ONNX file"):
        InProcess(tmp_path, "onnxruntime", ())
