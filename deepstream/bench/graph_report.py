"""The report of `xpnet bench graph` as Markdown and as a plot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from xpnet.figures import new_figure, save_figure

PARTS = ("decode", "preprocess", "inference", "mask", "overlay", "encode")
"""Parts of a frame's way through the graph, in order."""
QUIET_LOAD = 0.5
"""Load average before the start up to which a machine counts as quiet."""


def as_markdown(report: dict[str, Any]) -> str:
    """Format a report: one table for each measurement, then the machine and what was skipped.

    Args:
        report: Result of `deepstream.bench.graph_bench.bench_graph`.
    """
    tables = [_parts, _runs, _parts_in_graph, _delay, _copies, _tracer]
    blocks = [table(report) for table in tables]
    lines = [line for block in blocks if block for line in (*block, "")]
    return "\n".join([*lines, *machine_lines(report)]) + "\n"


def machine_lines(report: dict[str, Any]) -> list[str]:
    """Return where and when a report was made, and what was skipped.

    Args:
        report: A report with the entries of `deepstream.bench.graph_bench.describe_bench`.
    """
    load = report["load_before"]
    quiet = "" if load <= QUIET_LOAD else ": **the machine was busy, so these times are too long**"
    return [
        f"{report['machine']}, {report['cores']} cores, {report['date']}; GStreamer "
        f"{report['gstreamer']}, `{report['model']}` by {report['backend']}; "
        f"clip {report['clip']}, {report['seconds']:g} s; load average before the start "
        f"{load:g}{quiet}.",
        *(f"Skipped: {reason}." for reason in report["skipped"]),
    ]


def _table(title: str, head: list[str], rows: list[list[str]]) -> list[str]:
    if not rows:
        return []
    line = ["| " + " | ".join(row) + " |" for row in rows]
    return [f"**{title}**", "", "| " + " | ".join(head) + " |", "|---" * len(head) + "|", *line]


def _ms(found: dict[str, float] | None, names: tuple[str, ...] = ("p50", "p95")) -> str:
    """Return times in milliseconds, such as `1.2 / 3.4`; empty without any."""
    return " / ".join(f"{found[name]:.1f}" for name in names) if found else ""


def _sizes(rows: list[dict[str, Any]]) -> list[str]:
    return list(dict.fromkeys(row["size"] for row in rows))


def _parts(report: dict[str, Any]) -> list[str]:
    rows = report["parts"]
    sizes = _sizes(rows)
    cells = {
        (r["part"], r["size"]): f"{r['median_ms']:.2f} / {r['p95_ms']:.2f}"
        for r in rows
    }  # fmt: skip
    parts = list(dict.fromkeys(row["part"] for row in rows))
    return _table(
        "Each part alone: ms a frame, median / p95",
        ["part", *sizes],
        [[part, *(cells[part, size] for size in sizes)] for part in parts],
    )


def _runs(report: dict[str, Any]) -> list[str]:
    rows = [
        [
            row["size"], row["mode"], str(row["streams"]), f"{row['fps']:.1f}",
            " ".join(f"{rate:.1f}" for rate in row["fps_each"]), _ms(row["latency_ms"]),
            _ms(row["mask_age_ms"]), f"{row['frames_without_mask']} of {row['frames']}",
        ]
        for row in report["runs"]
    ]  # fmt: skip
    head = ["size", "mode", "runs at once", "fps of all", "fps of each", "latency ms, p50 / p95",
            "age of the mask ms, p50 / p95", "frames without a mask, first run"]  # fmt: skip
    return _table("From file to file: frames a second", head, rows)


def _parts_in_graph(report: dict[str, Any]) -> list[str]:
    rows = [
        [row["size"], row["mode"], str(row["streams"]), *(_ms(row["parts"][p]) for p in PARTS)]
        for row in report["runs"]
    ]
    head = ["size", "mode", "runs at once", *PARTS]
    return _table("The parts inside these runs: ms, p50 / p95 of the first run", head, rows)


def _delay(report: dict[str, Any]) -> list[str]:
    names = ("p50", "p95", "p99")
    rows = [
        [
            row["size"], row["mode"], row["chain"], _ms(row["glass_ms"], names),
            str(row["read"]), str(row["unreadable"]),
        ]
        for row in report["delay"]
    ]  # fmt: skip
    head = ["size", "mode", "chain behind the source", "delay ms, p50 / p95 / p99", "frames",
            "unreadable"]  # fmt: skip
    return _table("From a live source to the sink, by a time code in the picture", head, rows)


def _copies(report: dict[str, Any]) -> list[str]:
    rows = [
        [
            row["size"], row["mode"], row["output"], f"{row['copies']:g}",
            ", ".join(f"{name} {count:g}" for name, count in row["where"].items()) or "none",
        ]
        for row in report["copies"]
    ]  # fmt: skip
    head = ["size", "mode", "output", "copies of a frame, mean", "at"]
    return _table("Copies of a frame between decoder and encoder or sink", head, rows)


def _tracer(report: dict[str, Any]) -> list[str]:
    runs = report["tracer"]
    sizes = list(dict.fromkeys((row["size"], row["mode"]) for row in runs))
    cells = {
        (e["element"], row["size"], row["mode"]): f"{e['median_ms']:.2f} / {e['p95_ms']:.2f}"
        for row in runs
        for e in row["elements"]
    }
    names = list(dict.fromkeys(e["element"] for row in runs for e in row["elements"]))
    return _table(
        "GStreamer's latency tracer: ms from arrival at an element until the frame leaves it, "
        "median / p95",
        ["element", *(f"{size} {mode}" for size, mode in sizes)],
        [[f"`{name}`", *(cells.get((name, *key), "") for key in sizes)] for name in names],
    )


def draw(report: dict[str, Any], path: Path) -> None:
    """Draw the parts, the frames a second and the delays.

    Args:
        report: Result of `deepstream.bench.graph_bench.bench_graph`.
        path: Picture to write: .png, .svg or .pdf.

    Raises:
        UserError: matplotlib is missing, the suffix is unknown, or the file cannot be written.
    """
    panels = [
        (name, draw_panel)
        for name, draw_panel in (("parts", _draw_parts), ("runs", _draw_runs),
                                 ("delay", _draw_delay))
        if report[name]
    ]  # fmt: skip
    figure = new_figure(9, 3.4 * max(1, len(panels)))
    axes = figure.subplots(max(1, len(panels)), 1, squeeze=False)
    for (name, draw_panel), axis in zip(panels, axes[:, 0], strict=False):
        draw_panel(axis, report[name])
        axis.grid(axis="y", alpha=0.3)
    busy = "" if report["load_before"] <= QUIET_LOAD else "\nthe machine was busy: times too long"
    figure.suptitle(
        f"{report['machine']}, {report['cores']} cores, {report['date']}; {report['model']} by "
        f"{report['backend']}{busy}",
        fontsize=9,
    )
    save_figure(figure, path)


def _bars(axis: Any, labels: list[str], series: dict[str, list[float]]) -> None:
    """Draw groups of bars, one group for each label and one bar for each series."""
    width = 0.8 / max(1, len(series))
    for number, (name, values) in enumerate(series.items()):
        places = [i + (number - (len(series) - 1) / 2) * width for i in range(len(labels))]
        bars = axis.bar(places, values, width, label=name, color=f"C{number}")
        texts = [f"{v:.0f}" if v >= 100 else f"{v:.3g}" for v in values]
        axis.bar_label(bars, texts, fontsize=7, padding=1)
    axis.set_xticks(range(len(labels)), labels, fontsize=8)
    axis.margins(y=0.15)
    axis.legend(fontsize=8)


def _draw_parts(axis: Any, rows: list[dict[str, Any]]) -> None:
    parts = list(dict.fromkeys(row["part"] for row in rows))
    series = {
        size: [r["median_ms"] for part in parts for r in rows
               if (r["size"], r["part"]) == (size, part)]
        for size in _sizes(rows)
    }  # fmt: skip
    _bars(axis, [part.replace(", ", ",\n") for part in parts], series)
    axis.set_yscale("log")
    axis.set(title="Each part alone", ylabel="ms a frame, median")


def _draw_runs(axis: Any, rows: list[dict[str, Any]]) -> None:
    groups = list(dict.fromkeys((r["size"], r["mode"]) for r in rows))
    counts = sorted({row["streams"] for row in rows})
    series = {
        f"{count} at once" if count > 1 else "one run": [
            next((r["fps"] for r in rows if (r["size"], r["mode"], r["streams"]) == (*g, count)), 0)
            for g in groups
        ]
        for count in counts
    }
    _bars(axis, [f"{size}\n{mode}" for size, mode in groups], series)
    axis.set(title="From file to file: all runs together", ylabel="frames a second")


def _draw_delay(axis: Any, rows: list[dict[str, Any]]) -> None:
    groups = list(dict.fromkeys((r["size"], r["mode"]) for r in rows))
    chains = list(dict.fromkeys(row["chain"] for row in rows))
    series = {
        chain: [
            next((r["glass_ms"]["p50"] for r in rows
                  if (r["size"], r["mode"], r["chain"]) == (*g, chain) and r["glass_ms"]), 0.0)
            for g in groups
        ]
        for chain in chains
    }  # fmt: skip
    _bars(axis, [f"{size}\n{mode}" for size, mode in groups], series)
    axis.set(title="From a live source to the sink", ylabel="delay, ms, p50")
