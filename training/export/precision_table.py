"""`xpnet export precisions`: the reports of FP16 and INT8 files as one table."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

from training.evaluation.score_table import SETS
from training.export.precision import Report
from xpnet.errors import UserError

KEYS = ("model", "height", "width", "machine", "date", "scores", *(f.name for f in fields(Report)))
"""Keys of a report."""


def read_reports(paths: list[Path]) -> list[dict[str, Any]]:
    """Read reports of `xpnet export --precision`, ordered by model, size and precision.

    Args:
        paths: The reports.

    Raises: UserError: A file is missing or not a report, or two have the same model, size and
        precision.
    """
    reports = {}
    for path in paths:
        try:
            report = dict(json.loads(path.read_text(encoding="utf-8")))
            missing = [key for key in KEYS if key not in report]
        except (OSError, ValueError, TypeError) as error:
            raise UserError(f"{path}: not a report of `xpnet export`: {error}") from error
        if missing:
            raise UserError(f"{path}: not a report of `xpnet export`: no '{missing[0]}' in it")
        key = (report["model"], report["height"], report["width"], report["precision"])
        if key in reports:
            raise UserError(f"{path}: a second report of {key[0]}, {key[1]} x {key[2]}, {key[3]}")
        reports[key] = report
    return [reports[key] for key in sorted(reports)]


def as_markdown(reports: list[dict[str, Any]]) -> str:
    """Return a table with a row for each report, and a row of FP32 for each model and size.

    Columns: Dice and IoU of each set, differences of a probability from FP32, and how they were
        measured.

    Args:
        reports: The reports.
    """
    names = list(dict.fromkeys(name for report in reports for name in report["scores"]))
    head = ["model", "size", "precision", "MiB", *(f"{SETS.get(n, n)}: Dice / IoU" for n in names)]
    head += ["largest difference", "mean", "masks agree", "in float"]
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    before: tuple[str, str] | None = None
    for report in reports:
        graph = (f"`{report['model']}`", f"{report['height']} x {report['width']}")
        if graph != before:
            cells = [*graph, "fp32", _mib(report["size_bytes_fp32"])]
            cells += [_score(report, name, "fp32") for name in names]
            lines.append(f"| {' | '.join([*cells, '', '', '', ''])} |")
        before = graph
        cells = [*graph, report["precision"], _mib(report["size_bytes"])]
        cells += [_score(report, name, report["precision"]) for name in names]
        cells += [
            f"{report['largest_difference']:.4f}",
            f"{report['mean_difference']:.6f}",
            f"{report['agreement']:.4f}",
            str(len(report["left_out"])),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    made = sorted({f"{report['machine']}, {report['date']}" for report in reports})
    return "\n".join([*lines, "", *made]) + "\n"


def _mib(size: int) -> str:
    return f"{size / (1 << 20):.1f}"


def _score(report: dict[str, Any], name: str, precision: str) -> str:
    found = report["scores"].get(name, {}).get(precision)
    return f"{found['dice']:.4f} / {found['iou']:.4f}" if found else ""
