"""Key files, the format of deepstream-app and nvinfer: read, checked and written by one table.

A table lists the groups, their keys and what each key takes. The same table writes our files and
checks others, so a key that NVIDIA's parser does not know cannot be written.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from xpnet.errors import UserError

Table = Mapping[str, Mapping[str, str]]
"""Group to key to kind. A numbered group or key (`source0`) is listed as `sourceN`.

Kinds: `int`, `float`, `bool`, `str`, `ints`, `floats`, `strs` (lists, separated by `;`), `path` (an
existing file or folder), `out` (a file that is written), `uri`, or the allowed numbers, as
`0|1|2`."""


@dataclass(frozen=True)
class Entry:
    """One `key=value` line; `line` counts from 1."""

    group: str
    key: str
    value: str
    line: int


def table_of(source: Mapping[str, str]) -> Table:
    """Return a table from its compact form: `key:kind` words for each group."""
    return {
        group: dict(word.split(":", 1) for word in words.split())  # type: ignore[misc]
        for group, words in source.items()
    }


def nearest(word: str, known: Iterable[str]) -> str:
    """Return `; nearest known: 'x'`, or nothing if no known word is similar."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f"; nearest known: '{close[0]}'" if close else ""


def parse(text: str, source: str) -> list[Entry]:
    """Parse a key file.

    Args:
        text: Its content.
        source: Its name, for messages.

    Returns:
        The entries in order.

    Raises:
        UserError: A line is no group, entry or comment, or an entry precedes the first group.
    """
    entries: list[Entry] = []
    group = ""
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        if line.startswith("[") and line.endswith("]"):
            group = line[1:-1]
        elif "=" in line and group:
            key, value = line.split("=", 1)
            entries.append(Entry(group, key.strip(), value.strip(), number))
        else:
            expected = "key=value" if group else "a [group] first"
            raise UserError(f"{source}:{number}: '{line}', expected {expected}")
    return entries


def check(entries: list[Entry], table: Table, source: str) -> None:
    """Check groups, keys and the form of values; files are not looked up.

    Args:
        entries: Entries of `parse`.
        table: The known keys.
        source: Name of the file, for messages.

    Raises:
        UserError: NVIDIA's parser would ignore or refuse an entry.
    """
    for entry in entries:
        check_entry(entry, table, source)


def check_entry(entry: Entry, table: Table, source: str) -> None:
    """Check one entry. Raises UserError as `check` does."""
    where = f"{source}:{entry.line}"
    name = group_name(entry.group, table)
    if name is None:
        groups = [g.replace("N", "0") for g in table]
        raise UserError(f"{where}: unknown group [{entry.group}]{nearest(entry.group, groups)}")
    kind = kind_of_key(entry, table)
    if kind is None:
        near = nearest(entry.key, table[name])
        raise UserError(f"{where}: unknown key '{entry.key}' in [{entry.group}]{near}")
    expected = _expected(kind, entry.value)
    if expected:
        raise UserError(
            f"{where}: {entry.key}={entry.value} in [{entry.group}], expected {expected}"
        )


def kind_of_key(entry: Entry, table: Table) -> str | None:
    """Return the kind of an entry's key, or None if the table does not list it."""
    keys = table.get(group_name(entry.group, table) or "", {})
    return keys.get(entry.key) or keys.get(_numbered(entry.key))


def group_name(group: str, table: Table) -> str | None:
    """Return the name of a group in the table, or None if it is unknown."""
    if group in table:
        return group
    return _numbered(group) if _numbered(group) in table else None


def _numbered(word: str) -> str:
    return re.sub(r"\d+$", "N", word)


def write(groups: list[tuple[str, Any]], table: Table) -> str:
    """Return a key file.

    Args: groups: Dataclasses by group; field names are the keys with `_` for `-`, None is not
        written. table: The known keys.

    Raises:
        UserError: A field is not in the table, or has a wrong value.
    """
    blocks = []
    for group, settings in groups:
        lines = [f"[{group}]"]
        for field in fields(settings):
            value = getattr(settings, field.name)
            if value is None:
                continue
            entry = Entry(group, field.name.replace("_", "-"), _text(value), 0)
            check_entry(entry, table, type(settings).__name__)
            lines.append(f"{entry.key}={entry.value}")
        blocks.append("\n".join(lines) + "\n")
    return "\n".join(blocks)


def resolve(value: str, config: Path) -> Path:
    """Return a path as NVIDIA's parsers do: relative to the folder of the config file."""
    return (config.absolute().parent / value.removeprefix("file://")).resolve()


def _text(value: Any) -> str:
    if isinstance(value, (tuple, list)):
        return ";".join(map(_text, value))
    return repr(value) if isinstance(value, float) else str(value)


def _expected(kind: str, value: str) -> str:
    """Return what was expected instead of `value`; empty if it is valid."""
    if kind in _KINDS:
        words, fits = _KINDS[kind]
        return "" if fits(value) else words
    allowed = kind.split("|")
    return "" if value in allowed else f"one of {', '.join(allowed)}"


def _every(pattern: str) -> Callable[[str], bool]:
    return lambda value: all(re.fullmatch(pattern, x) for x in value.strip(";").split(";"))


_INT, _FLOAT = r"[+-]?\d+", r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?"
_KINDS: dict[str, tuple[str, Callable[[str], bool]]] = {
    "int": ("a whole number", lambda v: re.fullmatch(_INT, v) is not None),
    "float": ("a number", lambda v: re.fullmatch(_FLOAT, v) is not None),
    "bool": ("0, 1, true or false", lambda v: v in {"0", "1", "true", "false"}),
    "ints": ("whole numbers with ; between", _every(_INT)),
    "floats": ("numbers with ; between", _every(_FLOAT)),
    "str": ("a word", bool),
    "strs": ("words with ; between", bool),
    "path": ("a path", bool),
    "out": ("a path", bool),
    "uri": ("file://, rtsp:// or http(s)://", lambda v: re.match(r"[a-z]+://\S", v) is not None),
}
