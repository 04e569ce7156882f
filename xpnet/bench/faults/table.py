"""`xpnet bench faults`: a live run while its server, source and clients fail, again and again.

Each fault has a run of its own. What is counted: frames that the picture lost, the time until the
run's state showed the fault, and the time from the end of the cause until masks were back.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from statistics import median
from typing import Any

from xpnet.bench.faults.injection import NOTICE_S, Fault, FaultSettings
from xpnet.bench.live_run import LiveRun
from xpnet.errors import UserError
from xpnet.host.cpu import measured_here

log = logging.getLogger("xpnet.bench")

READY_S = 60.0
"""Longest wait for masks at the start, and after a fault."""
STEADY_S = 1.0
"""Time with masks before each injection."""


def masks_are_shown(state: dict[str, Any]) -> bool:
    """Return whether the newest frame has a recent mask, and is the source's."""
    return bool(state["assistant"] == "ready" and state["source"] == "connected")


def bench_faults(settings: FaultSettings, known: list[Fault]) -> dict[str, Any]:
    """Inject all faults and return the table.

    Args:
        settings: What is injected.
        known: All faults.

    Returns:
        The report: `rows` with `fault`, `injected`, `frames_lost`, `seconds_to_notice` and
        `seconds_to_recover` (the longest; null where there is nothing to notice), the medians, and
        `skipped` with reasons.

    Raises:
        UserError: An unknown fault, or a run that does not start or does not recover.
    """
    names = [fault.name for fault in known]
    for name in settings.only:
        if name not in names:
            raise UserError(f"--only '{name}': no such fault; known: {', '.join(names)}")
    rows, skipped = [], {}
    for fault in known:
        if settings.only and fault.name not in settings.only:
            continue
        lacking = fault.missing()
        if lacking:
            skipped[fault.name] = lacking
            log.warning("%s: not injected: %s", fault.name, lacking)
            continue
        rows.append(_inject_repeatedly(fault, settings))
        log.warning("%s", as_line(rows[-1]))
    return {
        "rows": rows,
        "skipped": skipped,
        "times": settings.times,
        "clip": settings.clip.name,
        "frame_size": [settings.height, settings.width],
        **measured_here(),
    }


def _inject_repeatedly(fault: Fault, settings: FaultSettings) -> dict[str, Any]:
    """Return the row of a fault."""
    noticed: list[float] = []
    recovered: list[float] = []
    with fault.opened(settings) as injection:
        run = injection.run
        for number in range(settings.times):
            what = f"{fault.name}, injection {number + 1}"
            _settle(run, f"before {what}")
            injection.inject()
            if injection.is_noticed is not None:
                waited = run.wait_until(injection.is_noticed, NOTICE_S)
                if waited is None:
                    raise UserError(f"{what}: the run's state did not show it in {NOTICE_S:g} s")
                noticed.append(waited)
            injection.end()
            recovered.append(_wait_for_masks(run, f"after {what}"))
        summary = run.stop()
    return {
        "fault": fault.name,
        "injected": settings.times,
        "frames_lost": summary["frames_lost"],
        "seconds_to_notice": _rounded(max, noticed),
        "seconds_to_recover": _rounded(max, recovered),
        "median_seconds_to_notice": _rounded(median, noticed),
        "median_seconds_to_recover": _rounded(median, recovered),
        "frames_in": summary["frames_in"],
        "frames_without_mask": summary["frames_without_mask"],
        "server_restarts": summary["server_restarts"],
        "reconnects": summary["reconnects"],
    }


def _settle(run: LiveRun, when: str) -> None:
    """Wait until masks are shown, and still are after STEADY_S.

    On a busy machine they can be missing for a moment, which would be taken for the fault.
    """
    end = time.monotonic() + READY_S
    while time.monotonic() < end:
        _wait_for_masks(run, when)
        time.sleep(STEADY_S)
        if masks_are_shown(run.state()):
            return
    raise UserError(f"{when}: no masks for {STEADY_S:g} s without a gap within {READY_S:g} s")


def _wait_for_masks(run: LiveRun, when: str) -> float:
    waited = run.wait_until(masks_are_shown, READY_S)
    if waited is None:
        raise UserError(f"{when}: no masks within {READY_S:g} s: {run.last_line()}")
    return waited


def _rounded(chosen: Callable[[list[float]], float], values: list[float]) -> float | None:
    return round(chosen(values), 2) if values else None


def as_line(row: dict[str, Any]) -> str:
    """Return a row for a person.

    Args:
        row: One of the rows of `bench_faults`.
    """
    notice = row["seconds_to_notice"]
    shown = "nothing to show" if notice is None else f"shown within {notice:g} s"
    return (
        f"{row['fault']}: {row['injected']} times, {row['frames_lost']} of {row['frames_in']} "
        f"frames lost, {shown}, masks back within {row['seconds_to_recover']:g} s after its end"
    )


def as_markdown(report: dict[str, Any]) -> str:
    """Return the table as Markdown.

    Args:
        report: The result of `bench_faults`.
    """
    lines = [
        "| fault | injected | frames lost | s until shown | s until masks are back |",
        "|---|---|---|---|---|",
    ]
    for row in report["rows"]:
        cells = [
            row["fault"], str(row["injected"]), f"{row['frames_lost']} of {row['frames_in']}",
            _cell(row, "seconds_to_notice"), _cell(row, "seconds_to_recover"),
        ]  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    lines += [f"| {name} | not injected: {why} | | | |" for name, why in report["skipped"].items()]
    height, width = report["frame_size"]
    lines += [
        "",
        f"Longest, and in brackets the median. {width} x {height}, {report['clip']} played as if "
        f"live, `xpnet_lite_onnx` through Triton, {report['cores']} cores of {report['machine']}, "
        f"{report['date']}.",
    ]
    return "\n".join(lines) + "\n"


def _cell(row: dict[str, Any], name: str) -> str:
    longest = row[name]
    return "" if longest is None else f"{longest:.2f} ({row[f'median_{name}']:.2f})"
