"""The verification as one file to attach to an issue, Markdown, and the same as JSON beside it."""

from __future__ import annotations

import json
import os
import platform
from collections import Counter
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any

from xpnet.bench.perf_analyzer import PerfAnalyzer
from xpnet.diagnostics.check_context import Figure, Site, Skipped
from xpnet.diagnostics.claims import Claim
from xpnet.errors import UserError
from xpnet.files import write_text
from xpnet.host.cpu import describe_machine
from xpnet.host.versions import versions
from xpnet.paths import ROOT
from xpnet.serving.triton_server import find_tritonserver
from xpnet.tensorrt.trtexec import find_trtexec

HELD, BROKEN, SKIPPED = "held", "not held", "skipped"


@dataclass(frozen=True)
class Outcome:
    """A claim and what came of it: HELD or BROKEN with what was found, SKIPPED with its reason."""

    claim: Claim
    state: str
    found: str
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        claim = self.claim
        return {
            "id": claim.id,
            "claim": claim.sentence,
            "where": claim.where,
            "how": claim.how,
            "state": self.state,
            "found": without_private(self.found),
            "seconds": self.seconds,
        }


def machine_of(site: Site) -> dict[str, str]:
    """The machine in words, without its name or its user's."""
    try:
        gpu = ", ".join(site.gpu().values())
    except Skipped as reason:
        gpu = f"none: {reason}"
    return {
        "machine": describe_machine(),
        "cores": str(os.cpu_count()),
        "load before": f"{os.getloadavg()[0]:.2f}",
        "GPU": gpu,
        "system": f"{_system()}, Linux {platform.release()}",
        "Triton server": _or_reason(lambda: str(find_tritonserver()[0])),
        "perf_analyzer": _or_reason(lambda: PerfAnalyzer().version),
        "trtexec": find_trtexec() or "none",
    }


def as_dict(
    machine: dict[str, str], outcomes: list[Outcome], figures: list[Figure]
) -> dict[str, Any]:
    """Everything, ready for JSON."""
    return {
        "date": date.today().isoformat(),
        "machine": {name: without_private(text) for name, text in machine.items()},
        "versions": versions(),
        "claims": [outcome.as_dict() for outcome in outcomes],
        "figures": [asdict(figure) for figure in figures],
    }


def as_markdown(found: dict[str, Any]) -> str:
    """For a person: what held, what did not, what was skipped and why, and what was measured."""
    claims = found["claims"]
    count = Counter(claim["state"] for claim in claims)
    lines = [
        "# XP-Net on this machine",
        "",
        f"{found['date']}: of {len(claims)} claims {count[HELD]} held, {count[BROKEN]} did not, "
        f"{count[SKIPPED]} could not be checked here.",
        "",
        "| claim | stands in | | found |",
        "|---|---|---|---|",
    ]
    for claim in claims:
        mark = claim["state"] if claim["state"] != BROKEN else f"**{BROKEN}**"
        lines.append(f"| {claim['claim']} | {claim['where']} | {mark} | {_cell(claim['found'])} |")
    lines += ["", "## Measured", "", "| what | value | how |", "|---|---|---|"]
    for figure in found["figures"]:
        lines.append(
            f"| {figure['name']} | {figure['value']:g} {figure['unit']} | {figure['how']} |"
        )
    lines += ["", "## Machine", "", "| | |", "|---|---|"]
    lines += [f"| {name} | {_cell(text)} |" for name, text in found["machine"].items()]
    lines += [f"| {name} | {version or 'none'} |" for name, version in found["versions"].items()]
    lines += ["", "## How each claim was checked", ""]
    lines += [f"- `{c['id']}` ({c['seconds']:.0f} s): {c['how']}" for c in claims]
    return "\n".join(lines) + "\n"


def write_report(found: dict[str, Any], path: Path) -> None:
    """Writes `path`, Markdown, and the same as JSON beside it."""
    write_text(path, as_markdown(found))
    write_text(path.with_suffix(".json"), json.dumps(found, indent=2) + "\n")


def without_private(text: str) -> str:
    """A text without the folders that name a user: the project's, and the home folder."""
    for folder, short in ((str(ROOT), "."), (str(Path.home()), "~")):
        if len(folder) > 1:
            text = text.replace(folder, short)
    return text


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _or_reason(look: Any) -> str:
    try:
        return str(look())
    except UserError as error:
        return f"none: {error}"


def _system() -> str:
    try:
        return str(platform.freedesktop_os_release()["PRETTY_NAME"])
    except (OSError, KeyError):
        return platform.system()
