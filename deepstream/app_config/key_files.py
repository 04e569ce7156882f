"""Reads, checks and writes key files, the format of deepstream-app and nvinfer.

A key file has `[group]` lines and `key=value` lines, as GLib's GKeyFile. A table
(`deepstream.app_config.key_tables`) lists the groups, their keys and the type of each value. Files
are checked and written with the same table, so a key that NVIDIA's parser does not know cannot be
written.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from xpnet.errors import UserError

KeyTable = Mapping[str, Mapping[str, str]]
"""The value type of each key, by group and key. `source0` and `source1` are listed as `sourceN`.

Value types: `int`, `float`, `bool`, `str`, `ints`, `floats`, `strs` (lists, separated by `;`),
`path` (an existing file or folder), `out` (a file or folder that is written), `uri`, or the allowed
numbers, as `0|1|2`."""


_ESCAPES = {"\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"}
"""How GKeyFile writes characters in a string; it also reads a backslash and s as a space."""


@dataclass(frozen=True)
class Entry:
    """One `key=value` line; `line` is its line number, which starts at 1.

    The value is as GLib's g_key_file_get_string returns it, without escapes.
    """

    group: str
    key: str
    value: str
    line: int


def parse_table(source: Mapping[str, str]) -> KeyTable:
    """Parse the compact form of a table.

    Args:
        source: `key:type` words, separated by white space, by group.
    """
    return {
        group: dict(word.split(":", 1) for word in words.split())  # type: ignore[misc]
        for group, words in source.items()
    }


def nearest_known(name: str, known: Iterable[str]) -> str:
    """Return the end of an error message, `; nearest known: 'x'`, or "" if no name is similar.

    Args:
        name: The unknown name.
        known: The known names.
    """
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"; nearest known: '{close[0]}'" if close else ""


def parse(text: str, source: str) -> list[Entry]:
    """Parse a key file.

    Args:
        text: The content of the file.
        source: The name of the file, for messages.

    Returns:
        The entries in order.

    Raises:
        UserError: A line is not a group, an entry or a comment, or an entry precedes the first
            group.
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
            value = _unescape(value.strip(), f"{source}:{number}")
            entries.append(Entry(group, key.strip(), value, number))
        else:
            expected = "key=value" if group else "a [group] first"
            raise UserError(f"{source}:{number}: '{line}', expected {expected}")
    return entries


def check_entries(entries: list[Entry], table: KeyTable, source: str) -> None:
    """Check groups, keys and values against a table; paths are not looked up.

    Args:
        entries: Entries of `parse`.
        table: The groups and keys of the parser that reads the file.
        source: The name of the file, for messages.

    Raises:
        UserError: NVIDIA's parser would ignore or refuse an entry.
    """
    for entry in entries:
        check_entry(entry, table, source)


def check_entry(entry: Entry, table: KeyTable, source: str) -> None:
    """Check one entry. Raises UserError as `check_entries` does."""
    where = f"{source}:{entry.line}"
    group = find_group(entry.group, table)
    if group is None:
        known = [name.replace("N", "0") for name in table]
        raise UserError(
            f"{where}: unknown group [{entry.group}]{nearest_known(entry.group, known)}"
        )
    value_type = find_value_type(entry, table)
    if value_type is None:
        nearest = nearest_known(entry.key, table[group])
        raise UserError(f"{where}: unknown key '{entry.key}' in [{entry.group}]{nearest}")
    expected = _expected_instead(value_type, entry.value)
    if expected:
        raise UserError(
            f"{where}: {entry.key}={entry.value} in [{entry.group}], expected {expected}"
        )


def find_value_type(entry: Entry, table: KeyTable) -> str | None:
    """Return the value type of an entry's key, or None if the table does not list the key."""
    keys = table.get(find_group(entry.group, table) or "", {})
    return keys.get(entry.key) or keys.get(_with_n(entry.key))


def find_group(group: str, table: KeyTable) -> str | None:
    """Return the table's name of a group (`sourceN` for `source0`), or None if it is unknown."""
    if group in table:
        return group
    return _with_n(group) if _with_n(group) in table else None


def _with_n(name: str) -> str:
    """Return a name with `N` instead of its final number."""
    return re.sub(r"\d+$", "N", name)


def to_text(groups: list[tuple[str, Any]], table: KeyTable) -> str:
    """Return the text of a key file.

    Args:
        groups: Name and settings of each group. Settings are a dataclass; a field `batch_size` is
            the key `batch-size`, and a field that is None is not written.
        table: The groups and keys of the parser that reads the file.

    Raises:
        UserError: A field is not in the table, or its value is invalid.
    """
    blocks = []
    for group, settings in groups:
        lines = [f"[{group}]"]
        for field in fields(settings):
            value = getattr(settings, field.name)
            if value is None:
                continue
            entry = Entry(group, field.name.replace("_", "-"), _value_text(value), 0)
            check_entry(entry, table, type(settings).__name__)
            lines.append(f"{entry.key}={escape(entry.value)}")
        blocks.append("\n".join(lines) + "\n")
    return "\n".join(blocks)


def resolve_path(value: str, config: Path, follow_link: bool = True) -> Path:
    """Return the absolute path of a value, as NVIDIA's parsers resolve it.

    Args:
        value: A path relative to the folder of the config, an absolute path, or a `file://` URI.
        config: The config that contains the value.
        follow_link: If the config is a symbolic link, whether paths are relative to the file that
            it leads to, as deepstream-app and nvinfer take them (get_absolute_file_path), or to
            the link itself, as nvinferserver does (validateBackend in infer_proto_utils.cpp).
    """
    config = config.resolve() if follow_link else config.absolute()
    path = unquote(value.removeprefix("file://")) if value.startswith("file://") else value
    return (config.parent / path).resolve()


def escape(value: str) -> str:
    """Return a string as a key file contains it.

    GKeyFile takes a backslash as the start of an escape: unescaped, a password with a backslash
    and an s would be read as one with a space; most other letters would end deepstream-app.

    Args:
        value: The string.
    """
    return "".join(_ESCAPES.get(letter, letter) for letter in value)


def _unescape(value: str, where: str) -> str:
    """Return the string that a value in a key file stands for."""
    letters = {written[1]: letter for letter, written in _ESCAPES.items()} | {"s": " "}

    def letter(match: re.Match[str]) -> str:
        if match[1] not in letters:
            raise UserError(f"{where}: '{match[0]}' in a value, expected '\\\\' for a backslash")
        return letters[match[1]]

    return re.sub(r"\\(.?)", letter, value)


def _value_text(value: Any) -> str:
    if isinstance(value, (tuple, list)):
        return ";".join(map(_value_text, value))
    return repr(value) if isinstance(value, float) else str(value)


def _expected_instead(value_type: str, value: str) -> str:
    """Return what was expected instead of a value; "" if the value is valid."""
    if value_type in _VALUE_TYPES:
        description, is_valid = _VALUE_TYPES[value_type]
        return "" if is_valid(value) else description
    allowed = value_type.split("|")
    return "" if value in allowed else f"one of {', '.join(allowed)}"


def _is_list_of(pattern: str) -> Callable[[str], bool]:
    """Return a function that checks whether each item between `;` matches a pattern."""
    return lambda value: all(re.fullmatch(pattern, x) for x in value.strip(";").split(";"))


_INT, _FLOAT = r"[+-]?\d+", r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?"
_VALUE_TYPES: dict[str, tuple[str, Callable[[str], bool]]] = {
    "int": ("a whole number", lambda v: re.fullmatch(_INT, v) is not None),
    "float": ("a number", lambda v: re.fullmatch(_FLOAT, v) is not None),
    "bool": ("0, 1, true or false", lambda v: v in {"0", "1", "true", "false"}),
    "ints": ("whole numbers separated by ;", _is_list_of(_INT)),
    "floats": ("numbers separated by ;", _is_list_of(_FLOAT)),
    "str": ("a word", bool),
    "strs": ("words separated by ;", bool),
    "path": ("a path", bool),
    "out": ("a path", bool),
    "uri": ("file://, rtsp:// or http(s)://", lambda v: re.match(r"[a-z]+://\S", v) is not None),
}
"""Description, for messages, and check of each value type."""
