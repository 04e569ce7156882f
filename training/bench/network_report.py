"""The report of `xpnet bench network` as a table and as a plot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from xpnet.figures import new_figure, save_figure

HEAD = (
    "network", "graph", "runtime", "precision", "size", "batch", "median ms", "p10 to p90",
    "share of peak", "times the U-Net",
)  # fmt: skip


def as_markdown(found: dict[str, Any]) -> str:
    """Return a table of the networks, one of the times, and what was left out.

    `times the U-Net` is the speed relative to the U-Net in FP32 on ONNX Runtime, at the same size
    and batch.

    Args:
        found: The report of training.bench.network_bench.bench_network.
    """
    base = {
        (row["size"], row["batch"]): row["median_ms"]
        for row in found["rows"]
        if (row["network"], row["graph"], row["runtime"], row["precision"])
        == ("unet", "exported", "onnxruntime", "fp32")
    }
    lines = [*_counts(found), "", f"| {' | '.join(HEAD)} |", "|---" * len(HEAD) + "|"]
    for row in found["rows"]:
        unet = base.get((row["size"], row["batch"]))
        share = row["peak_share"]
        cells = [
            row["network"], row["graph"],
            f"{row['runtime']} **shipped**" if row["shipped"] else row["runtime"],
            row["precision"], str(row["size"]), str(row["batch"]), f"{row['median_ms']:.1f}",
            f"{row['p10_ms']:.1f} to {row['p90_ms']:.1f}",
            "" if share is None else f"{share:.0%}",
            "" if unet is None else f"{unet / row['median_ms']:.2f}",
        ]  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    peak = found["peak"]
    rates = [f"{peak[f'{p}_gflops']:.0f} GFLOP/s in {p}" for p in ("fp32", "bf16")
             if f"{p}_gflops" in peak]  # fmt: skip
    versions = ", ".join(f"{name} {version}" for name, version in found["versions"].items())
    lines += [
        "",
        f"Medians of {found['rounds']} rounds in which all alternate, fresh weights where there "
        f"are no trained ones. The share is of a product of matrices, {' and '.join(rates)}; a "
        f"copy moves {peak['copy_gb_per_s']:.1f} GB/s. {found['cores']} cores of "
        f"{found['machine']}; {versions}; {found['date']}.",
    ]
    if found["left_out"]:
        lines += ["", *(f"- Left out: {reason}" for reason in found["left_out"])]
    return "\n".join(lines) + "\n"


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
    axes.bar_label(bars, fmt=" %.0f")
    axes.invert_yaxis()
    axes.set_xlabel("ms a call, the fastest runtime and precision of each network")
    axes.set_title(f"{found['cores']} cores of {found['machine']}, {found['date']}", fontsize=9)
    save_figure(figure, path)


def _counts(found: dict[str, Any]) -> list[str]:
    """Return the table of parameters and multiply-adds, which do not depend on the runtime."""
    lines = ["| network | size | parameters | multiply-adds, billions |", "|---|---|---|---|"]
    seen = {(r["network"], r["size"]): r for r in found["rows"]}
    lines += [
        f"| {name} | {size} | {row['parameters']:,} | {row['multiply_adds'] / 1e9:.2f} |"
        for (name, size), row in seen.items()
    ]
    return lines
