"""`xpnet evaluate tradeoff`: accuracy of networks over the time of a frame, as a plot."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from xpnet.errors import UserError
from xpnet.figures import new_figure, save_figure

OURS = ("unet", "student", "lite")
"""Networks of this project, which have another colour."""


def draw_tradeoff(
    accuracy: dict[str, Any], speed: dict[str, Any], set_name: str, path: Path
) -> list[str]:
    """Draw a point for each network that both reports have, with the interval of its Dice.

    The time is that of the fastest runtime and precision of the network, for one frame, at the
    smallest size of the report.

    Args:
        accuracy: Report of `xpnet train peers`.
        speed: Report of `xpnet bench network`.
        set_name: The data set whose Dice is drawn.
        path: A .png, .svg or .pdf file.

    Returns:
        Names of the rows that are not drawn, because a figure is missing.

    Raises:
        UserError: No row has both figures, matplotlib is missing, or the file cannot be written.
    """
    rows = accuracy.get("rows", {})
    times = fastest_times(speed)
    shown = {
        name: (times[row["network"]], row["scores"][set_name])
        for name, row in rows.items()
        if row.get("network") in times and set_name in row.get("scores", {})
    }
    if not shown:
        sets = sorted({name for row in rows.values() for name in row.get("scores", {})})
        raise UserError(
            f"no network with a time and a Dice on '{set_name}': expected one of the sets "
            f"{', '.join(sets) or '(none)'}, and the reports of `xpnet train peers --output` and "
            "`xpnet bench network --json`"
        )
    figure = new_figure(7.5, 4.6)
    axes = figure.subplots()
    middle = math.sqrt(math.prod(pick(time for time, _ in shown.values()) for pick in (min, max)))
    for name, (time_ms, scores) in shown.items():
        is_ours = rows[name]["network"] in OURS
        low, high = scores["interval"]
        axes.errorbar(
            time_ms, scores["dice"], [[scores["dice"] - low], [high - scores["dice"]]],
            fmt="o" if is_ours else "s", color="tab:blue" if is_ours else "tab:gray", capsize=3,
        )  # fmt: skip
        on_the_left = time_ms > middle  # where the slower networks crowd at the right edge
        axes.annotate(
            name, (time_ms, scores["dice"]), (-7 if on_the_left else 7, 4),
            textcoords="offset points", fontsize=7.5, ha="right" if on_the_left else "left",
        )  # fmt: skip
    size = min(row["size"] for row in speed["rows"])
    axes.set_xscale("log")
    axes.margins(x=0.2, y=0.12)
    ticks = _ticks([time for time, _ in shown.values()])
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    axes.set(
        xlabel=f"ms a frame of {size} x {size} pixels, fastest runtime and precision",
        ylabel=f"Dice on {set_name}",
    )
    budget = accuracy["settings"]
    axes.set_title(
        f"Equal budgets: {budget['epochs']} epochs at {budget['size']} pixels\n"
        f"timed on {speed['cores']} cores of {speed['machine']}, {speed['date']}",
        fontsize=8,
    )
    axes.grid(alpha=0.3)
    save_figure(figure, path)
    return [name for name in rows if name not in shown]


def fastest_times(speed: dict[str, Any]) -> dict[str, float]:
    """Return each network's shortest time of a single frame at the smallest size, in ms.

    Args:
        speed: Report of `xpnet bench network`.

    Raises:
        UserError: It is another report.
    """
    rows = speed.get("rows") or []
    if not rows or not all({"network", "size", "batch", "median_ms"} <= set(row) for row in rows):
        raise UserError("the times are not a report of `xpnet bench network --json`")
    size = min(row["size"] for row in rows)
    times: dict[str, float] = {}
    for row in rows:
        if row["size"] == size and row["batch"] == 1:
            known = times.get(row["network"], float("inf"))
            times[row["network"]] = min(known, row["median_ms"])
    return times


def _ticks(times: list[float]) -> list[float]:
    """Return round numbers that enclose the times, for a logarithmic axis."""
    steps = [m * 10**e for e in range(-1, 5) for m in (1, 2, 5)]
    low = max((s for s in steps if s <= min(times)), default=steps[0])
    high = min((s for s in steps if s >= max(times)), default=steps[-1])
    return [s for s in steps if low <= s <= high]
