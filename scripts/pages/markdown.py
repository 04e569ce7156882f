"""Markdown of generated pages: tables, and sections between two comments."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from xpnet.errors import UserError

NOTICE = "<!-- Made by `python -m scripts.pages`; do not edit. -->"
"""First line of a page that is generated as a whole."""


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return the lines of a table; `|` and line ends within a cell are escaped."""
    lines = [head, ["---"] * len(head), *rows]
    return [f"| {' | '.join(map(cell, line))} |" for line in lines]


def cell(text: str) -> str:
    """Return text for a cell of a table."""
    return " ".join(text.split()).replace("|", "\\|")


def with_sections(page: str, sections: dict[str, list[str]]) -> str:
    """Replace what is between `<!-- made: NAME -->` and `<!-- end: NAME -->`.

    Args:
        page: The page.
        sections: New lines by the name of the section.

    Raises:
        UserError: The page lacks a section.
    """
    for name, lines in sections.items():
        begin, end = f"<!-- made: {name} -->\n", f"<!-- end: {name} -->"
        before, found, rest = page.partition(begin)
        _, found_end, after = rest.partition(end)
        if not (found and found_end):
            raise UserError(f"no lines <!-- made: {name} --> and {end} in the page")
        page = "".join((before, begin, "\n", "\n".join(lines), "\n\n", end, after))
    return page
