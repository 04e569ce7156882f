"""The report of `xpnet bench server`: Markdown tables and a plot."""

from __future__ import annotations

from pathlib import Path
from statistics import median
from typing import Any

from xpnet.bench.perf_analyzer import TRANSPORTS
from xpnet.figures import new_figure, save_figure

TABLE_CONCURRENCIES = (1, 2, 4, 8)
"""Concurrencies in the table, besides the largest one; the JSON has all of them."""
LATENCY_PARTS = {
    "network_ms": "outside the server",
    "queue_ms": "queue",
    "moved_ms": "compute input and output",
    "compute_ms": "compute infer",
}
"""Parts of the latency of a request, with their labels in the plot."""


def comparison_table(report: dict[str, Any]) -> list[str]:
    """Format the comparison of Triton with inference in process.

    Args:
        report: Result of `xpnet.bench.server_bench.bench_server`.

    Returns:
        Lines of Markdown; empty if nothing was compared.
    """
    rows = report["against"]
    if not rows:
        return []
    lines = [
        "| model | in-process runtime | in-process fps | Triton fps | ratio | added latency |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        lines.append(
            f"| `{row['model']}` | {row['in_process_by']} | {row['in_process_per_second']:.1f} "
            f"| {row['triton_per_second']:.1f} | {row['ratio']:.3f} "
            f"| {added_latency_ms(row):.1f} ms |"
        )
    first = rows[0]  # transport, concurrency and rounds are the same for all models
    return [
        *lines,
        "",
        f"{first['concurrency']} concurrent requests over {first['transport']}; medians of "
        f"{len(first['rounds'])} alternating rounds; {report['machine']}, {report['cores']} cores, "
        f"{report['date']}.",
    ]


def added_latency_ms(comparison: dict[str, Any]) -> float:
    """Return the time that Triton adds to a frame, in milliseconds.

    Args:
        comparison: One of the comparisons (`against`) of a report.

    Returns:
        The median of the differences of all rounds.
    """
    return median(
        1000 / triton_fps - 1000 / in_process_fps
        for in_process_fps, triton_fps in comparison["rounds"]
    )


def as_markdown(report: dict[str, Any]) -> str:
    """Format a report: the comparison, the measurements, and what was skipped.

    Args:
        report: Result of `xpnet.bench.server_bench.bench_server`.
    """
    comparison = comparison_table(report)
    lines = [*comparison, ""] if comparison else []
    lines += [
        "| model | transport | batching | concurrency | fps | p50 ms | p90 ms | p99 ms "
        "| outside server ms | queue ms | compute input/output ms | compute infer ms |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    largest = max(row["concurrency"] for row in report["rows"])
    for row in report["rows"]:
        if row["concurrency"] in (*TABLE_CONCURRENCIES, largest):
            columns = ("p50_ms", "p90_ms", "p99_ms", *LATENCY_PARTS)
            times = " | ".join(f"{row[column]:.1f}" for column in columns)
            lines.append(
                f"| `{row['model']}` | {row['transport']} | {row['batching']} "
                f"| {row['concurrency']} | {row['per_second']:.1f} | {times} |"
            )
    runtime = f", runtime of ONNX models {report['runtime']}" if report["runtime"] else ""
    lines += [
        "",
        f"{report['machine']}, {report['cores']} cores, {report['date']}; Triton "
        f"{report['triton']}{runtime}, perf_analyzer {report['perf_analyzer']}, measurement "
        f"windows of {report['window_ms']} ms; load average before the start "
        f"{report['load_before']:g}.",
        *(f"Skipped: {reason}." for reason in report["left_out"]),
    ]
    return "\n".join(lines) + "\n"


def draw(report: dict[str, Any], path: Path) -> None:
    """Draw throughput, latency and the parts of the latency, with one column for each model.

    The parts are those of the last transport that was measured.

    Args:
        report: Result of `xpnet.bench.server_bench.bench_server`.
        path: The image to write: .png, .svg or .pdf.

    Raises:
        UserError: matplotlib is missing, the suffix is unknown, or the file cannot be written.
    """
    rows = report["rows"]
    models = list(dict.fromkeys(row["model"] for row in rows))
    figure = new_figure(4.6 * len(models), 10)
    axes = figure.subplots(3, len(models), squeeze=False)
    in_process_fps = {row["model"]: row["in_process_per_second"] for row in report["against"]}
    for column, model in enumerate(models):
        model_rows = [row for row in rows if row["model"] == model]
        throughput, latency, parts = (axes[line][column] for line in range(3))
        _draw_lines(throughput, latency, model_rows)
        if model in in_process_fps:
            throughput.axhline(in_process_fps[model], color="black", ls=":", label="in process")
        throughput.set(title=model, ylabel="throughput, fps", ylim=(0, None))
        latency.set(ylabel="latency, ms: p50, and p99 dotted", yscale="log")
        transport = model_rows[-1]["transport"]
        batching = "on" if any(row["batching"] == "on" for row in model_rows) else "off"
        _draw_parts(parts, _select(model_rows, transport, batching))
        parts.set(
            title=f"{transport}, batching {batching}", ylabel="mean time of a request, ms",
            xlabel="concurrent requests",
        )  # fmt: skip
        for panel in (throughput, latency, parts):
            panel.grid(alpha=0.3)
    handles: dict[str, Any] = {}
    for panel in (*axes[0], axes[2][0]):
        handles |= dict(zip(*reversed(panel.get_legend_handles_labels()), strict=True))
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=4, fontsize=8)
    figure.suptitle(f"{report['machine']}, {report['cores']} cores, {report['date']}", fontsize=9)
    save_figure(figure, path)


def _select(rows: list[dict[str, Any]], transport: str, batching: str) -> list[dict[str, Any]]:
    return [r for r in rows if (r["transport"], r["batching"]) == (transport, batching)]


def _draw_lines(throughput: Any, latency: Any, rows: list[dict[str, Any]]) -> None:
    """Draw one colour for each transport; dashed lines are without batching."""
    for transport, batching in dict.fromkeys((r["transport"], r["batching"]) for r in rows):
        selected = _select(rows, transport, batching)
        x = [r["concurrency"] for r in selected]
        style = {
            "color": f"C{list(TRANSPORTS).index(transport)}",
            "ls": "-" if batching == "on" else "--",
            "marker": "o" if batching == "on" else "x",
            "ms": 4,
        }
        label = f"{transport}, batching {batching}"
        throughput.plot(x, [r["per_second"] for r in selected], label=label, **style)
        latency.plot(x, [r["p50_ms"] for r in selected], **style)
        latency.plot(x, [r["p99_ms"] for r in selected], **style | {"ls": ":", "lw": 0.8})


def _draw_parts(axes: Any, rows: list[dict[str, Any]]) -> None:
    """Draw stacked bars of the parts of the latency."""
    x = [row["concurrency"] for row in rows]
    bottom = [0.0] * len(rows)
    for i, (part, label) in enumerate(LATENCY_PARTS.items()):
        heights = [row[part] for row in rows]
        axes.bar(x, heights, 0.7, bottom=bottom, label=label, color=f"C{4 + i}")
        bottom = [a + b for a, b in zip(bottom, heights, strict=True)]
