"""docs/reference/commands.md from the parser of `xpnet`."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import Any

from scripts.pages.markdown import NOTICE, table
from xpnet.cli import build_parser
from xpnet.paths import BUILD, ROOT

DEFAULT = re.compile(r"\s*\(default: ((?:[^()]|\([^()]*\))*)\)")
"""The default in the help of an option, for the table's column of its own."""
INTRO = """# Commands

Each command prints this with `--help`. `--debug` before the command shows every step and the traces
of errors. Exit codes: 0 done, 2 wrong use or bad input (one line on stderr), 1 any other error.
Options in *italics* must be given.
"""


def commands_page() -> str:
    """Return the page."""
    parser = build_parser()
    (commands,) = (a for a in parser._actions if isinstance(a, argparse._SubParsersAction))
    purposes = {action.dest: action.help or "" for action in commands._choices_actions}
    lines = [NOTICE, "", INTRO]
    rows = [(f"[`xpnet {n}`](#{_anchor(n)})", purposes[n]) for n in commands.choices]
    lines += [*table(("command", "what it does"), rows), ""]
    for name, command in commands.choices.items():
        lines += _command(name, purposes[name], command)
    return "\n".join(lines).rstrip() + "\n"


def _anchor(name: str) -> str:
    return f"xpnet-{name.replace(' ', '-')}"


def _command(name: str, purpose: str, parser: argparse.ArgumentParser) -> list[str]:
    example = re.match(r"example:\n  (.*)", parser.epilog or "")
    assert example is not None, f"{name}: no example"
    lines = [f"## xpnet {name}", "", f"{purpose[0].upper()}{purpose[1:]}.", ""]
    lines += ["```console", f"$ {example[1]}", "```", ""]
    actions = [a for a in parser._actions if not isinstance(a, argparse._HelpAction)]
    if actions:
        lines += table(("option", "default", "meaning"), [_row(parser, a) for a in actions])
        lines.append("")
    return lines


def _row(parser: argparse.ArgumentParser, action: argparse.Action) -> tuple[str, str, str]:
    text = parser._get_formatter()._expand_help(action) if action.help else ""
    stated = DEFAULT.findall(text)
    if len(stated) > 1:  # each belongs to what is said before it
        return _name(action), "", text
    default = stated[0] if stated else _default(action.default)
    return _name(action), default, DEFAULT.sub("", text).strip()


def _name(action: argparse.Action) -> str:
    """Return an option with its values; in italics if it must be given."""
    values = _values(action)
    if action.option_strings:
        name = ", ".join(f"`{f'{option} {values}'.strip()}`" for option in action.option_strings)
        required = action.required
    else:
        name, required = f"`{values}`", action.nargs not in ("?", "*")
    return f"*{name}*" if required else name


def _values(action: argparse.Action) -> str:
    if action.nargs == 0:
        return ""
    if action.choices is not None and not action.metavar:
        value = "{" + ",".join(map(str, action.choices)) + "}"
    elif action.option_strings:
        value = str(action.metavar or action.dest.upper())
    else:
        value = str(action.metavar or action.dest)
    return f"{value} ..." if action.nargs in ("+", "*") else value


def _default(value: Any) -> str:
    """Return a default that the help does not state; paths as the repository's own."""
    if value is None or value is False or value in ([], (), "", argparse.SUPPRESS):
        return ""
    if isinstance(value, Path):
        for folder, start in ((BUILD, "build"), (ROOT, ".")):
            if value.is_relative_to(folder):
                return f"`{(Path(start) / value.relative_to(folder)).as_posix()}`"
    if isinstance(value, list | tuple):
        return " ".join(map(str, value))
    return str(value)
