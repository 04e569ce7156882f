"""Checks of the Triton server: the addresses that it listens on, and the time that it adds."""

from __future__ import annotations

from xpnet.bench.server_bench import BenchSettings, bench_server
from xpnet.bench.server_report import added_latency_ms
from xpnet.diagnostics.check_context import CheckContext, CheckResult, CheckSkipped
from xpnet.diagnostics.listening_sockets import listening_sockets
from xpnet.errors import UserError
from xpnet.serving.model_config import DEFAULT_MODEL

MAX_ADDED_MS = 3.0
"""Longest accepted time that Triton adds to a frame, with two requests at a time; measured in
docs/serving-speed.md."""


def check_loopback(context: CheckContext) -> CheckResult:
    """Check that the server's ports listen on loopback addresses only."""
    server = context.server()
    urls = (server.http_url, server.grpc_url, server.metrics_url)
    ports = {int(url.rsplit(":", 1)[1]) for url in urls}
    addresses = sorted({a for a, port in listening_sockets() if port in ports}, key=str)
    listed = ", ".join(map(str, addresses)) or "no address"
    return bool(addresses) and all(a.is_loopback for a in addresses), f"listens on {listed}"


def check_triton_overhead(context: CheckContext) -> CheckResult:
    """Measure the default model with perf_analyzer and in process, alternately."""
    try:
        report = bench_server(
            BenchSettings(
                frames=tuple(context.reference_frames().values()),
                csv_dir=context.work_dir / "perf_analyzer",
                models=(DEFAULT_MODEL,),
                transports=("grpc+system",),
                batching=("on",),
                concurrency=1,
                window_ms=500,
                rounds=5,
                repository=context.repository,
            )
        )
    except UserError as error:
        if "perf_analyzer is not installed" not in str(error):
            raise
        raise CheckSkipped(str(error)) from error
    (row,) = report["against"]
    added_ms = added_latency_ms(row)
    return added_ms <= MAX_ADDED_MS, (
        f"{row['model']}: {row['in_process_per_second']:g} fps in process, "
        f"{row['triton_per_second']:g} fps through Triton: {added_ms:.1f} ms more a frame "
        f"(median of {len(row['rounds'])} alternating rounds), expected at most {MAX_ADDED_MS:g}"
    )
