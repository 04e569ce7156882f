"""The tables of `xpnet bench server`, and the latency that Triton adds."""

from __future__ import annotations

import pytest

from xpnet.bench.server_report import added_latency_ms, as_markdown, comparison_table

COMPARISON = {
    "model": "m", "in_process_by": "openvino", "transport": "grpc+system", "concurrency": 2,
    "in_process_per_second": 100.0, "triton_per_second": 80.0, "ratio": 0.8,
    "rounds": [[100.0, 80.0], [50.0, 40.0], [100.0, 100.0]],
}  # fmt: skip


def make_report(concurrencies: range, comparisons: list[dict]) -> dict:
    times = dict.fromkeys(
        ("p50_ms", "p90_ms", "p99_ms", "network_ms", "queue_ms", "moved_ms", "compute_ms"), 1.25
    )
    rows = [
        {"model": "m", "transport": "grpc", "batching": "on", "concurrency": n, "per_second": 9.0}
        | times
        for n in concurrencies
    ]
    return {
        "machine": "a machine", "cores": 2, "date": "2026-11-24", "load_before": 0.5,
        "triton": "2.51.0", "runtime": "openvino", "perf_analyzer": "2.51.0", "window_ms": 500,
        "rows": rows, "against": comparisons, "left_out": ["grpc+cuda: no GPU"],
    }  # fmt: skip


def test_added_latency_is_the_median_of_the_rounds() -> None:
    assert added_latency_ms(COMPARISON) == pytest.approx(1000 / 80 - 1000 / 100)


def test_comparison_table() -> None:
    lines = comparison_table(make_report(range(1, 2), [COMPARISON]))
    assert lines[2] == "| `m` | openvino | 100.0 | 80.0 | 0.800 | 2.5 ms |"
    assert lines[0].count("|") == lines[1].count("|") == lines[2].count("|")
    assert "2 concurrent requests over grpc+system; medians of 3 alternating rounds" in lines[-1]


def test_no_comparison_gives_no_table() -> None:
    assert comparison_table(make_report(range(1, 2), [])) == []


def test_table_has_powers_of_two_and_the_largest_concurrency() -> None:
    page = as_markdown(make_report(range(1, 8), []))
    rows = [line.split("|") for line in page.splitlines() if line.startswith("| `m`")]
    assert [row[4].strip() for row in rows] == ["1", "2", "4", "7"]
    assert {len(row) for row in rows} == {len(page.splitlines()[0].split("|"))}


def test_report_ends_with_what_was_skipped() -> None:
    page = as_markdown(make_report(range(1, 2), []))
    assert page.endswith("Skipped: grpc+cuda: no GPU.\n")
    assert "load average before the start 0.5." in page
