"""What `xpnet bench server` found: a table for people, and a plot."""

from __future__ import annotations

from pathlib import Path
from statistics import median
from typing import Any

from xpnet.bench.perf_analyzer import TRANSPORTS
from xpnet.figures import new_figure, save_figure

SHOWN = (1, 2, 4, 8)
"""Requests at a time that the table shows; the JSON holds all of them."""
PARTS = ("network_ms", "queue_ms", "moved_ms", "compute_ms")
PART_NAMES = ("outside the server", "queue", "to and from the backend", "backend")


def comparison(found: dict[str, Any]) -> list[str]:
    """The lines of Triton against inference in process; none where it was not measured."""
    if not found["against"]:
        return []
    lines = [
        "| model | in process by | a second | Triton, a second | ratio | more a frame |",
        "|---|---|---|---|---|---|",
    ]
    for row in found["against"]:
        lines.append(
            f"| `{row['model']}` | {row['in_process_by']} | {row['in_process_per_second']:.1f} "
            f"| {row['triton_per_second']:.1f} | {row['ratio']:.3f} | {added_ms(row):.1f} ms |"
        )
    row = found["against"][0]  # all of them alike but for the model
    return [
        *lines,
        "",
        f"{row['concurrency']} requests at a time, by {row['transport']}, {len(row['rounds'])} "
        f"rounds by turns, medians; {found['machine']}, {found['cores']} cores, {found['date']}.",
    ]


def added_ms(row: dict[str, Any]) -> float:
    """Milliseconds that Triton adds to a frame: the median of the rounds of one comparison."""
    return median(1000 / served - 1000 / alone for alone, served in row["rounds"])


def as_markdown(found: dict[str, Any]) -> str:
    """Triton against inference in process, then the measurements at SHOWN and at the most."""
    lines = comparison(found)
    lines += [""] if lines else []
    lines += [
        "| model | transport | batching | at a time | a second | p50 ms | p90 ms | p99 ms "
        "| outside ms | queue ms | to, from backend ms | backend ms |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    most = max(row["concurrency"] for row in found["rows"])
    for row in found["rows"]:
        if row["concurrency"] in SHOWN or row["concurrency"] == most:
            times = " | ".join(f"{row[k]:.1f}" for k in ("p50_ms", "p90_ms", "p99_ms", *PARTS))
            lines.append(
                f"| `{row['model']}` | {row['transport']} | {row['batching']} "
                f"| {row['concurrency']} | {row['per_second']:.1f} | {times} |"
            )
    runtime = f", ONNX models by {found['runtime']}" if found["runtime"] else ""
    lines += [
        "",
        f"{found['machine']}, {found['cores']} cores, {found['date']}; Triton {found['triton']}"
        f"{runtime}, perf_analyzer {found['perf_analyzer']}, windows of {found['window_ms']} ms; "
        f"load of the machine before it started {found['load_before']:g}.",
    ]
    return "\n".join([*lines, *(f"Left out: {reason}." for reason in found["left_out"])]) + "\n"


def draw(found: dict[str, Any], path: Path) -> None:
    """Writes a picture, .png, .svg or .pdf: a column a model.

    Rows: requests answered a second, latency, and where the time of a request goes by the last
    transport that was measured.

    Raises:
        UserError: matplotlib is missing, an unknown suffix, or the file cannot be written.
    """
    rows = found["rows"]
    models = list(dict.fromkeys(row["model"] for row in rows))
    figure = new_figure(4.6 * len(models), 10)
    axes = figure.subplots(3, len(models), squeeze=False)
    alone = {row["model"]: row["in_process_per_second"] for row in found["against"]}
    for column, model in enumerate(models):
        own = [row for row in rows if row["model"] == model]
        rate, latency, parts = (axes[line][column] for line in range(3))
        _lines(rate, latency, own)
        if model in alone:
            rate.axhline(alone[model], color="black", ls=":", label="in process")
        rate.set(title=model, ylabel="answers a second", ylim=(0, None))
        latency.set(ylabel="latency, ms: p50, and p99 dotted", yscale="log")
        last = own[-1]["transport"]
        batching = "on" if any(row["batching"] == "on" for row in own) else "off"
        _bars(parts, [r for r in own if (r["transport"], r["batching"]) == (last, batching)])
        parts.set(
            title=f"{last}, batching {batching}", ylabel="mean of a request, ms",
            xlabel="requests at a time",
        )  # fmt: skip
        for panel in (rate, latency, parts):
            panel.grid(alpha=0.3)
    named: dict[str, Any] = {}
    for panel in (*axes[0], axes[2][0]):
        named |= dict(zip(*reversed(panel.get_legend_handles_labels()), strict=True))
    figure.legend(named.values(), named.keys(), loc="outside lower center", ncols=4, fontsize=8)
    figure.suptitle(f"{found['machine']}, {found['cores']} cores, {found['date']}", fontsize=9)
    save_figure(figure, path)


def _lines(rate: Any, latency: Any, rows: list[dict[str, Any]]) -> None:
    """A colour a transport; without batching dashed."""
    for transport, batching in dict.fromkeys((r["transport"], r["batching"]) for r in rows):
        shown = [r for r in rows if (r["transport"], r["batching"]) == (transport, batching)]
        x = [r["concurrency"] for r in shown]
        style = {
            "color": f"C{list(TRANSPORTS).index(transport)}",
            "ls": "-" if batching == "on" else "--",
            "marker": "o" if batching == "on" else "x",
            "ms": 4,
        }
        label = f"{transport}, batching {batching}"
        rate.plot(x, [r["per_second"] for r in shown], label=label, **style)
        latency.plot(x, [r["p50_ms"] for r in shown], **style)
        latency.plot(x, [r["p99_ms"] for r in shown], **style | {"ls": ":", "lw": 0.8})


def _bars(axes: Any, rows: list[dict[str, Any]]) -> None:
    x = [row["concurrency"] for row in rows]
    bottom = [0.0] * len(rows)
    for i, (part, name) in enumerate(zip(PARTS, PART_NAMES, strict=True)):
        heights = [row[part] for row in rows]
        axes.bar(x, heights, 0.7, bottom=bottom, label=name, color=f"C{4 + i}")
        bottom = [a + b for a, b in zip(bottom, heights, strict=True)]
