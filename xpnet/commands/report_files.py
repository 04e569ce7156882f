"""The files that benchmarks write: `--json`, `--markdown` and `--plot`."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from xpnet.files import check_distinct, check_writable, write_text

MARKDOWN_HELP = (
    "write the tables; if FILE has lines <!-- bench NAME --> and <!-- end NAME -->, with NAME {}, "
    "replace only what is between them"
)


def add_report_files(
    parser: argparse.ArgumentParser, *, section: str = "", plot: bool = False
) -> None:
    """Add `--json`, and `--markdown` and `--plot` where a command has them.

    Args:
        parser: The parser of the command.
        section: Name of the tables in a page; empty for a command without `--markdown`.
        plot: Whether the command draws.
    """
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures as JSON")
    if section:
        help_text = MARKDOWN_HELP.format(section)
        parser.add_argument("--markdown", type=Path, metavar="FILE", help=help_text)
    if plot:
        parser.add_argument("--plot", type=Path, metavar="FILE", help="draw it: .png, .svg or .pdf")


def check_report_files(args: argparse.Namespace, inputs: Sequence[Path] = ()) -> None:
    """Check the files to write, before any work is done.

    Args:
        args: Values of the options of `add_report_files`.
        inputs: Files that the command reads.

    Raises:
        UserError: A file cannot be written, would replace another one, or is no kind of figure.
    """
    from xpnet.figures import check_figure

    markdown, plot = getattr(args, "markdown", None), getattr(args, "plot", None)
    check_distinct((args.json, markdown, plot), inputs)
    for path in (args.json, markdown):
        if path:
            check_writable(path)
    if plot:
        check_figure(plot)


def write_report_files(
    args: argparse.Namespace,
    report: Any,
    text: str,
    section: str = "",
    draw: Callable[[Any, Path], None] | None = None,
) -> None:
    """Print a report, and write the files that are wanted.

    Args:
        args: Values of the options of `add_report_files`.
        report: For `--json`, and for `draw`.
        text: Printed; written by `--markdown`.
        section: As in `add_report_files`.
        draw: Draws the report to a path.
    """
    print(text, end="" if text.endswith("\n") else "\n")
    if args.json:
        write_text(args.json, json.dumps(report, indent=2) + "\n")
    if section and args.markdown:
        write_section(args.markdown, section, text)
    if draw and args.plot:
        draw(report, args.plot)


def write_section(path: Path, name: str, table: str) -> None:
    """Write tables to a page; see `with_section`.

    Args:
        path: The page, which need not exist.
        name: Name of the tables.
        table: Markdown.

    Raises:
        UserError: The page cannot be written.
    """
    page = path.read_text(encoding="utf-8") if path.exists() else ""
    write_text(path, with_section(page, name, table))


def with_section(page: str, name: str, table: str) -> str:
    """Return a page with a table between the two lines of comments for it.

    Args:
        page: The page; without both lines, the table replaces all of it.
        name: Name of the tables in the comments.
        table: Markdown.
    """
    begin, end = f"<!-- bench {name} -->\n", f"<!-- end {name} -->"
    before, found, rest = page.partition(begin)
    _, found_end, after = rest.partition(end)
    return f"{before}{begin}\n{table}\n{end}{after}" if found and found_end else table
