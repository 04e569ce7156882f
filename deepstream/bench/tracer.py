"""Reads the log of GStreamer's latency tracer."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np

LINE = re.compile(
    r"element-latency, element-id=\(string\)[^,]+, element=\(string\)([^,]+), "
    r"src=\(string\)[^,]+, time=\(guint64\)(\d+)"
)


def tracer_environment(log: Path) -> dict[str, str]:
    """Return the environment variables that let GStreamer write a log of element latencies.

    Args:
        log: File to write.
    """
    return {
        "GST_TRACERS": "latency(flags=element)",
        "GST_DEBUG": "GST_TRACER:7",
        "GST_DEBUG_FILE": str(log),
        "GST_DEBUG_NO_COLOR": "1",
    }


def read_tracer_log(log: Path, elements: Collection[str], frames: int) -> list[dict[str, Any]]:
    """Return each element's latency, in the order of the stream as far as it is known.

    Args:
        log: File that GStreamer wrote.
        elements: Names of the graph's elements, in order; others belong to the decoder.
        frames: Number of frames of the run. Elements with fewer than a quarter of so many buffers
            belong to the check of the file before the run.

    Returns:
        Rows with `element`, `frames`, `median_ms` and `p95_ms`; empty if the log has no latencies.
    """
    times = defaultdict(list)
    for line in log.read_text(encoding="utf-8", errors="replace").splitlines():
        found = LINE.search(line)
        if found:
            times[found[1]].append(int(found[2]) / 1e6)
    order = {name: number for number, name in enumerate(elements)}
    kept = [name for name in times if len(times[name]) >= frames / 4]
    kept.sort(key=lambda name: order.get(name, -1))
    return [
        {
            "element": name,
            "frames": len(times[name]),
            "median_ms": round(float(np.median(times[name])), 3),
            "p95_ms": round(float(np.percentile(times[name], 95)), 3),
        }
        for name in kept
    ]
