"""The report of `xpnet bench network` as a table and as a plot."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from xpnet.figures import new_figure, save_figure

COLUMNS: dict[str, tuple[str, Callable[[dict[str, Any]], str]]] = {
    # title: the field without which a report of an earlier version lacks the column, and the cell
    "network": ("network", lambda r: r["network"]),
    "graph": ("graph", lambda r: r["graph"]),
    "runtime": ("runtime", lambda r: f"{r['runtime']}{' **shipped**' if r['shipped'] else ''}"),
    "precision": ("precision", lambda r: r["precision"]),
    "size": ("size", lambda r: str(r["size"])),
    "batch": ("batch", lambda r: str(r["batch"])),
    "median ms": ("median_ms", lambda r: f"{r['median_ms']:.1f}"),
    "p10 to p90": ("p10_ms", lambda r: f"{r['p10_ms']:.1f} to {r['p90_ms']:.1f}"),
    "share of peak": (
        "peak_share", lambda r: "" if r["peak_share"] is None else f"{r['peak_share']:.0%}"
    ),
}  # fmt: skip


def as_markdown(found: dict[str, Any]) -> str:
    """Return a table of the networks, one of the times, and what was left out.

    `times the U-Net` is the speed relative to the U-Net in FP32 on ONNX Runtime, at the same size
    and batch.

    Args:
        found: The report of training.bench.network_bench.bench_network.
    """
    rows = found["rows"]
    base = {
        (row["size"], row["batch"]): row["median_ms"]
        for row in rows
        if (row["network"], row["graph"], row["runtime"], row["precision"])
        == ("unet", "exported", "onnxruntime", "fp32")
    }
    columns = {title: cell for title, (field, cell) in COLUMNS.items() if field in rows[0]}
    head = [*columns, "times the U-Net"]
    lines = _counts(rows) if "multiply_adds" in rows[0] else []
    lines += [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for row in rows:
        unet = base.get((row["size"], row["batch"]))
        cells = [cell(row) for cell in columns.values()]
        cells.append("" if unet is None else f"{unet / row['median_ms']:.2f}")
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", _conditions(found)]
    if found["left_out"]:
        lines += ["", *(f"- Left out: {reason}" for reason in found["left_out"])]
    return "\n".join(lines) + "\n"


def _conditions(found: dict[str, Any]) -> str:
    """Return the sentences below the table."""
    said = (
        f"Medians of {found['rounds']} rounds in which all alternate, fresh weights where there "
        "are no trained ones. "
    )
    peak = found.get("peak")
    if peak:
        rates = [f"{peak[f'{p}_gflops']:.0f} GFLOP/s in {p}" for p in ("fp32", "bf16")
                 if f"{p}_gflops" in peak]  # fmt: skip
        said += (
            f"The share is of a product of matrices, {' and '.join(rates)}; a copy moves "
            f"{peak['copy_gb_per_s']:.1f} GB/s. "
        )
    versions = [f"{name} {version}" for name, version in found.get("versions", {}).items()]
    machine = f"{found['cores']} cores of {found['machine']}"
    return said + "; ".join(filter(None, (machine, ", ".join(versions), found["date"]))) + "."


def draw(found: dict[str, Any], path: Path) -> None:
    """Draw the fastest row of each network at each size, for one frame.

    Args:
        found: The report.
        path: A .png, .svg or .pdf file.

    Raises:
        UserError: matplotlib is missing, or the file cannot be written.
    """
    single = [
        row for row in found["rows"] if row["batch"] == min(r["batch"] for r in found["rows"])
    ]
    names = list(dict.fromkeys(row["network"] for row in single))
    sizes = sorted({row["size"] for row in single})
    figure = new_figure(8, 1.5 + 0.35 * len(names) * len(sizes))
    axes = figure.subplots()
    labels, times = [], []
    for size in sizes:
        for name in names:
            own = [r for r in single if r["network"] == name and r["size"] == size]
            if own:
                best = min(own, key=lambda r: r["median_ms"])
                labels.append(f"{name}, {size} px ({best['runtime']}, {best['precision']})")
                times.append(best["median_ms"])
    bars = axes.barh(labels, times)
    axes.bar_label(bars, [f" {time:.0f}" if time >= 10 else f" {time:.1f}" for time in times])
    axes.invert_yaxis()
    axes.margins(x=0.12)
    axes.set_xlabel("ms a call")
    # Over the whole figure: the names of the instruction sets are wider than the axes.
    figure.suptitle(
        "The fastest runtime and precision of each network\n"
        f"{found['cores']} cores of {found['machine']}, {found['date']}", fontsize=9
    )  # fmt: skip
    save_figure(figure, path)


def _counts(rows: list[dict[str, Any]]) -> list[str]:
    """Return the table of parameters and multiply-adds, which do not depend on the runtime."""
    lines = ["| network | size | parameters | multiply-adds, billions |", "|---|---|---|---|"]
    seen = {(row["network"], row["size"]): row for row in rows}
    lines += [
        f"| {name} | {size} | {row['parameters']:,} | {row['multiply_adds'] / 1e9:.2f} |"
        for (name, size), row in seen.items()
    ]
    return [*lines, ""]
