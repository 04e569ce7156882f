"""The report of `xpnet bench archive` as Markdown."""

from __future__ import annotations

from typing import Any


def as_markdown(report: dict[str, Any]) -> str:
    """Format a report as a table and a sentence about the machine.

    Args:
        report: Result of `deepstream.bench.archive_bench.bench_archive`.
    """
    whole, resumed = report["archive"], report["resumed"]
    loop = report["loop"]
    rows = [
        ("a loop over `xpnet run`", loop),
        (f"`xpnet archive`, {report['workers']} workers", whole),
        ("`xpnet archive`, killed half-way", report["killed"]),
        ("the same command again", resumed),
    ]
    columns = ("done", "skipped", "failed", "frames", "seconds", "fps")
    lines = [f"| | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
    for name, found in rows:
        lines.append(f"| {name} | {' | '.join(str(found.get(key, '')) for key in columns)} |")
    differ = report["frames_that_differ"]
    again = "some" if resumed["done_again"] else "none"
    lines += [
        "",
        f"{report['clips']} clips of {report['clip_seconds']:g} s, {report['corrupt']} of them "
        f"corrupt. Clips that were done twice: {again}. Frames whose polyps differ from those of "
        f"`xpnet run --polyps`: {differ[0]}, and {differ[1]} in the resumed job. "
        f"`{report['model']}` by {report['backend']}; {report['machine']}, {report['cores']} "
        f"cores, {report['date']}. Load average before and after: the loop {_load(loop)}, the job "
        f"{_load(whole)}.",
    ]
    return "\n".join(lines) + "\n"


def _load(figures: dict[str, Any]) -> str:
    before, after = figures["load"]
    return f"{before:.1f} and {after:.1f}"
