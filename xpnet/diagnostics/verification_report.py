"""The report of a verification: Markdown to attach to an issue, and the same as JSON."""

from __future__ import annotations

import json
import os
import platform
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any

from xpnet.bench.perf_analyzer import PerfAnalyzer
from xpnet.diagnostics.check_context import CheckContext, CheckSkipped, MeasuredValue
from xpnet.diagnostics.claims import Claim
from xpnet.errors import UserError
from xpnet.files import write_text
from xpnet.host.cpu import describe_machine
from xpnet.host.versions import versions
from xpnet.paths import ROOT
from xpnet.serving.triton_server import find_tritonserver
from xpnet.tensorrt.trtexec import find_trtexec

PASSED, FAILED, SKIPPED = "passed", "failed", "skipped"


@dataclass(frozen=True)
class Outcome:
    """The outcome of one check.

    Attributes:
        claim: The claim.
        state: PASSED, FAILED or SKIPPED.
        found: What the check found, or why it was skipped.
        seconds: How long it took.
    """

    claim: Claim
    state: str
    found: str
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        claim = self.claim
        return {
            "id": claim.id,
            "claim": claim.sentence,
            "where": claim.page,
            "how": claim.how,
            "state": self.state,
            "found": hide_user_folders(self.found),
            "seconds": self.seconds,
        }


def describe_installation(context: CheckContext) -> dict[str, str]:
    """Return machine, system and programs, without the names of host and user.

    Args:
        context: What the checks share.
    """
    try:
        gpu = ", ".join(context.require_gpu().values())
    except CheckSkipped as reason:
        gpu = f"none: {reason}"
    return {
        "machine": describe_machine(),
        "cores": str(os.cpu_count()),
        "load before": f"{os.getloadavg()[0]:.2f}",
        "GPU": gpu,
        "system": f"{_distribution()}, Linux {platform.release()}",
        "Triton server": _value_or_reason(lambda: str(find_tritonserver()[0])),
        "perf_analyzer": _value_or_reason(lambda: PerfAnalyzer().version),
        "trtexec": find_trtexec() or "none",
    }


def as_dict(
    machine: dict[str, str], outcomes: list[Outcome], measured: list[MeasuredValue]
) -> dict[str, Any]:
    """Return the report as plain values for JSON.

    Args:
        machine: Result of `describe_installation`.
        outcomes: Outcomes of the checks, in order.
        measured: Values that the checks measured.
    """
    return {
        "date": date.today().isoformat(),
        "machine": {name: hide_user_folders(text) for name, text in machine.items()},
        "versions": versions(),
        "claims": [outcome.as_dict() for outcome in outcomes],
        "figures": [asdict(value) for value in measured],
    }


def as_markdown(report: dict[str, Any]) -> str:
    """Return a report as Markdown.

    Args:
        report: Result of `as_dict`.
    """
    claims = report["claims"]
    count = Counter(claim["state"] for claim in claims)
    lines = [
        "# XP-Net on this machine",
        "",
        f"{report['date']}: {len(claims)} claims: {count[PASSED]} passed, {count[FAILED]} failed, "
        f"{count[SKIPPED]} skipped.",
        "",
        "| claim | page | result | found |",
        "|---|---|---|---|",
    ]
    for claim in claims:
        state = claim["state"] if claim["state"] != FAILED else f"**{FAILED}**"
        lines.append(f"| {claim['claim']} | {claim['where']} | {state} | {_cell(claim['found'])} |")
    lines += ["", "## Measured", "", "| what | value | how |", "|---|---|---|"]
    for row in report["figures"]:
        lines.append(f"| {row['name']} | {row['value']:g} {row['unit']} | {row['how']} |")
    lines += ["", "## Machine", "", "| | |", "|---|---|"]
    lines += [f"| {name} | {_cell(text)} |" for name, text in report["machine"].items()]
    lines += [f"| {name} | {version or 'none'} |" for name, version in report["versions"].items()]
    lines += ["", "## How each claim was checked", ""]
    lines += [f"- `{c['id']}` ({c['seconds']:.0f} s): {c['how']}" for c in claims]
    return "\n".join(lines) + "\n"


def write_report(report: dict[str, Any], path: Path) -> None:
    """Write a report as Markdown, and as JSON beside it.

    Args:
        report: Result of `as_dict`.
        path: The Markdown file.
    """
    write_text(path, as_markdown(report))
    write_text(path.with_suffix(".json"), json.dumps(report, indent=2) + "\n")


def hide_user_folders(text: str) -> str:
    """Replace the project's folder with `.` and the home folder with `~`: they name a user."""
    for folder, short in ((str(ROOT), "."), (str(Path.home()), "~")):
        if len(folder) > 1:
            text = text.replace(folder, short)
    return text


def _cell(text: str) -> str:
    """Return a text as one cell of a Markdown table."""
    return " ".join(text.split()).replace("|", "\\|")


def _value_or_reason(get_value: Callable[[], str]) -> str:
    try:
        return get_value()
    except UserError as error:
        return f"none: {error}"


def _distribution() -> str:
    """Return the name of the Linux distribution."""
    try:
        return str(platform.freedesktop_os_release()["PRETTY_NAME"])
    except (OSError, KeyError):
        return platform.system()
