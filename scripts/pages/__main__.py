"""Writes the generated pages, and the generated sections of others.

Usage: .venv/bin/python -m scripts.pages      in the repository's root; needs scripts/setup.sh --train
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from scripts.pages.command_reference import commands_page
from scripts.pages.network_diagrams import networks, training
from scripts.pages.run_diagram import run
from scripts.pages.settings_reference import settings_page
from xpnet.errors import UserError
from xpnet.files import write_text
from xpnet.paths import ROOT

DOCS = ROOT / "docs"
MAKERS: dict[str, Callable[[], str]] = {
    "reference/commands.md": commands_page,
    "reference/settings.md": settings_page,
    "pictures/networks.svg": networks,
    "pictures/training.svg": training,
    "pictures/run.svg": run,
}
"""The content of each generated file, by its path in docs/."""


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
    for name, make in MAKERS.items():
        path, text = docs / name, make()
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            write_text(path, text)
            written.append(name)
    return written


if __name__ == "__main__":
    try:
        print("\n".join(write_pages(DOCS)) or "all generated pages are up to date")
    except UserError as error:
        sys.exit(f"pages: {error}")
