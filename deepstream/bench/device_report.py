"""The report of `xpnet bench device` as Markdown."""

from __future__ import annotations

from typing import Any

from deepstream.bench.graph_report import machine_lines

SCREEN = (
    "Exposure and transfer inside the camera, the capture card and the screen are not included."
)


def as_markdown(report: dict[str, Any]) -> str:
    """Format a report: one section for each test, then the machine and what was skipped.

    Args:
        report: Result of `deepstream.bench.device_bench.bench_device`.
    """
    sections = [_algorithm, _pixels, _marks_delay, _chain_delay, _false_marks]
    lines = [line for section in sections for line in section(report)]
    return "\n".join([*lines, *machine_lines(report)]) + "\n"


def _algorithm(report: dict[str, Any]) -> list[str]:
    lines = [
        "### 1. The algorithm by itself",
        "",
        "| data | frames | Dice (95 %) | polyps found | sensitivity | false areas a frame "
        "| frames without a polyp that are marked |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in report["algorithm"]:
        low, high = (row["intervals"] or {}).get("dice", (None, None))
        interval = "" if low is None else f" ({low:.3f}-{high:.3f})"
        dice, found = f"{_number(row['dice'])}{interval}", f"{row['found']} of {row['polyps']}"
        if row["polyps"] == 0:  # without any polyp, Dice only repeats the share of marked frames
            dice = found = ""
        alarm = row["false_alarm"]
        marked = "" if alarm is None else f"{alarm:.3f} of {row['false_alarm_frames'] or ''}"
        lines.append(
            f"| {row['data']} | {row['frames']} | {dice} | {found} | {_number(row['sensitivity'])} "
            f"| {_number(row['false_areas'])} | {marked.strip()} |"
        )
    by_card = report["algorithm_from"] == "card"
    card = "the model's card, recorded there by " if by_card else ""
    return [*lines, "", f"From {card}`xpnet evaluate`. Threshold {report['threshold']:g}.", ""]


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _pixels(report: dict[str, Any]) -> list[str]:
    found = report.get("pixels")
    if not found:
        return []
    same = "identical" if not found["different_outside"] else "**different**"
    return [
        "### 2. The picture with the assistant on and off",
        "",
        f"{found['frames']} frames of {found['clip']}, {found['frames_with_mark']} with a mark, "
        "compared sample by sample on the decoder's own planes, before any encoder:",
        "",
        "| | |",
        "|---|---|",
        f"| outside the marks (farther than {found['margin_pixels']} pixels from a mask) | {same}: "
        f"{found['different_outside']} of {found['samples_outside']} samples differ |",
        f"| inside | {found['different_inside']} samples differ |",
        f"| with the assistant off, against the decoder's output | {found['frames_as_decoded']} of "
        f"{found['frames']} frames are the same, byte by byte |",
        "",
        "An encoder behind it has losses of its own, with the assistant and without.",
        "",
    ]


def _three(found: dict[str, float]) -> str:
    return " / ".join(f"{found[name]:.1f}" for name in ("p50", "p95", "p99"))


def _marks_delay(report: dict[str, Any]) -> list[str]:
    found = report.get("marks_delay")
    if not found:
        return []
    return [
        "### 3. The delay of the video due to the marks",
        "",
        f"A live picture of {report['size']}, mode `latest`. Runs of {report['seconds']:g} s with "
        f"the assistant on and off, alternately; medians over {len(found['rounds'])} of each.",
        "",
        "| | ms, p50 / p95 / p99 |",
        "|---|---|",
        f"| source to sink, assistant on | {_three(found['on_ms'])} |",
        f"| source to sink, assistant off | {_three(found['off_ms'])} |",
        f"| difference of the p50 | {found['added_ms']:.1f} |",
        f"| time in the overlay, as in `latency_ms` of a run | {_three(found['overlay_ms'])} |",
        "",
    ]


def _chain_delay(report: dict[str, Any]) -> list[str]:
    rows = report.get("chain_delay")
    if not rows:
        return []
    lines = [
        "### 4. The delay of the whole chain",
        "",
        f"The same picture with the assistant on, by a time code in it. {SCREEN}",
        "",
        "| behind the source | ms, p50 / p95 / p99 | frames | unreadable |",
        "|---|---|---|---|",
    ]
    for row in rows:
        lines.append(
            f"| {row['chain']} | {_three(row['glass_ms'])} | {row['read']} | {row['unreadable']} |"
        )
    return [*lines, ""]


def _false_marks(report: dict[str, Any]) -> list[str]:
    if not report["false_marks"]:
        return []
    lines = [
        "### False marks on the screen",
        "",
        "| clip | part | seconds | frames with a mark | marks | marks a minute "
        "| of three frames or more, a minute |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in report["false_marks"]:
        lines.append(
            f"| {row['clip']} | {row['part']} | {row['seconds']:g} "
            f"| {row['frames_with_mark']} of {row['frames']} | {row['marks']} "
            f"| {row['marks_per_minute']:g} | {row['lasting_per_minute']:g} |"
        )
    short = [
        "The built-in example is five seconds of one examination, too short for a rate. Give "
        "longer clips with `--without-polyps`.",
        "",
    ]
    built_in = any(row["built_in"] for row in report["false_marks"])
    counted = [
        "Mode `every`, masks steadied as `xpnet run` does by default. Every drawn area counts, "
        "however small. A mark that moves, or is away for up to half a second, is counted once.",
        "",
    ]
    return [*lines, "", *counted, *(short if built_in else [])]
