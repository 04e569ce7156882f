"""The goals of docs/performance.md, each with what was measured, from the benchmarks' JSON."""

from __future__ import annotations

import json
from typing import Any

from scripts.pages.markdown import table
from xpnet.paths import ROOT

DATA = ROOT / "docs" / "data"
SIZE = "1080p"
MOST_OVERLAY_MS = 1.0
MOST_AROUND_INFERENCE = 0.10
LEAST_OF_IN_PROCESS = 0.90
AROUND = ("preprocess", "mask", "steady", "outline")
"""Parts of a frame's way beside inference, decoder, overlay and encoder."""


def goals_table() -> list[str]:
    """Return the table; each row names the file with its figures."""
    graph, in_process = _read("performance-graph"), _read("performance-in-process")
    fast, large = _read("soak-1080p60"), _read("soak-4k")
    part = {row["part"]: row["median_ms"] for row in graph["parts"] if row["size"] == SIZE}
    around = sum(part[name] for name in AROUND) / part["inference"]
    through_triton = _fps(graph) / _fps(in_process)
    rows = [
        (
            f"overlay at {SIZE} on one core: under {MOST_OVERLAY_MS:g} ms",
            f"{part['overlay']:.2f} ms, median", part["overlay"] < MOST_OVERLAY_MS,
            "performance-graph",
        ),
        (
            f"{', '.join(AROUND)} at {SIZE}: under {MOST_AROUND_INFERENCE:.0%} of inference",
            f"{around:.0%} of {part['inference']:.1f} ms, medians", around < MOST_AROUND_INFERENCE,
            "performance-graph",
        ),
        (
            f"mode `every` through Triton, file to file at {SIZE}: at least "
            f"{LEAST_OF_IN_PROCESS:.0%} of inference in the process",
            f"{_fps(graph):.1f} of {_fps(in_process):.1f} fps: {through_triton:.0%}",
            through_triton >= LEAST_OF_IN_PROCESS, "performance-in-process",
        ),
        *(
            (
                f"mode `latest`, {title}, no encoding: every frame shown",
                f"{soak['frames_lost']} of {soak['frames_in']} frames lost in "
                f"{soak['minutes']:g} min",
                soak["frames_lost"] == 0, name,
            )
            for title, soak, name in (
                ("1080p at 60 fps", fast, "soak-1080p60"), ("4K at 25 fps", large, "soak-4k")
            )
        ),
    ]  # fmt: skip
    cells = [(goal, found, "yes" if met else "**no**", f"[{name}.json](data/{name}.json)")
             for goal, found, met, name in rows]  # fmt: skip
    machines = dict.fromkeys(
        f"{found['machine']}, {found['cores']} cores, {found['date']}"
        for found in (graph, in_process, fast, large)
    )
    return [*table(("goal", "measured", "met", "figures"), cells), "", f"{'; '.join(machines)}."]


def _read(name: str) -> dict[str, Any]:
    return dict(json.loads((DATA / f"{name}.json").read_text(encoding="utf-8")))


def _fps(graph: dict[str, Any]) -> float:
    (fps,) = [
        row["fps"]
        for row in graph["runs"]
        if (row["size"], row["mode"], row["streams"]) == (SIZE, "every", 1)
    ]
    return float(fps)
