"""Writes the generated pages, and the generated sections of others.

Usage, in the repository's root, after scripts/setup.sh --train: .venv/bin/python -m scripts.pages
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from scripts.pages import graph_goals, score_tables, soup
from scripts.pages.command_reference import commands_page
from scripts.pages.data_facts import (
    FACTS,
    centres_table,
    findings_table,
    sets_table,
    splits_table,
)
from scripts.pages.markdown import with_sections
from scripts.pages.network_diagrams import networks, training
from scripts.pages.run_diagram import run
from scripts.pages.settings_reference import settings_page
from xpnet.diagnostics.claims import claims_table
from xpnet.errors import UserError
from xpnet.files import write_text
from xpnet.host.compatibility import releases_table, sources_list
from xpnet.host.known_issues import known_issues_table
from xpnet.paths import ROOT

DOCS = ROOT / "docs"
MAKERS: dict[str, Callable[[], str]] = {
    "reference/commands.md": commands_page,
    "reference/settings.md": settings_page,
    "pictures/networks.svg": networks,
    "pictures/training.svg": training,
    "pictures/run.svg": run,
}
"""The content of each file that is generated as a whole, by its path in docs/."""
Section = Callable[[], list[str]]


def _of_facts(make: Callable[[dict[str, Any]], list[str]]) -> Section:
    return lambda: make(json.loads(FACTS.read_text(encoding="utf-8")))


SECTIONS: dict[str, dict[str, Section]] = {
    "model-card.md": {
        "facts": score_tables.facts,
        "by data set": score_tables.by_data_set,
        "by centre": score_tables.by_centre,
        "by size": score_tables.by_size,
    },
    "data-card.md": {
        "sets": _of_facts(sets_table),
        "centres": _of_facts(centres_table),
        "splits": _of_facts(splits_table),
        "findings": _of_facts(findings_table),
    },
    "performance.md": {
        "goals": graph_goals.goals_table,
        "as video": score_tables.as_video,
    },
    "training.md": {"peaks": score_tables.peaks},
    "compatibility.md": {
        "releases": releases_table,
        "issues": known_issues_table,
        "sources": sources_list,
    },
    "verification.md": {"claims": claims_table},
    "safety-notes.md": {"soup": soup.run_table, "other soup": soup.groups_table},
}
"""The generated sections of pages that are written by hand."""


def contents(docs: Path) -> dict[str, str]:
    """Return the text that each generated file, and each page with generated sections, must have.

    Args:
        docs: The folder of the pages.

    Raises:
        UserError: A page lacks a generated section.
    """
    texts = {name: make() for name, make in MAKERS.items()}
    for name, sections in SECTIONS.items():
        page = (docs / name).read_text(encoding="utf-8")
        texts[name] = with_sections(page, {title: make() for title, make in sections.items()})
    return texts


def write_pages(docs: Path) -> list[str]:
    """Write what has changed.

    Args:
        docs: The folder of the pages.

    Returns:
        The files that were written.

    Raises:
        UserError: A page lacks a generated section, or cannot be written.
    """
    written = []
    for name, text in contents(docs).items():
        path = docs / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            write_text(path, text)
            written.append(name)
    return written


if __name__ == "__main__":
    try:
        print("\n".join(write_pages(DOCS)) or "all generated pages are up to date")
    except UserError as error:
        sys.exit(f"pages: {error}")
