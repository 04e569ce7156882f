"""Reads .proto files: enough of the language for NVIDIA's three files of nvinferserver's config.

The files belong to NVIDIA and are not part of this project, so neither is a compiler of them
needed: messages, fields, oneofs, maps and enums are found by regular expressions.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from deepstream.app_config.nvinferserver_schema import FieldSpec

TOKEN = re.compile(r'"[^"]*"|[\w.]+|[{}=;<>,\[\]-]')
COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)


@dataclass
class ProtoSchema:
    """What .proto files declare; names without package and enclosing messages.

    Attributes:
        messages: Fields by message, in the order of their numbers.
        enums: Number by value, by enum.
    """

    messages: dict[str, list[FieldSpec]] = field(default_factory=dict)
    enums: dict[str, dict[str, int]] = field(default_factory=dict)


def read_proto_files(paths: list[Path]) -> ProtoSchema:
    """Read what several .proto files declare.

    Args:
        paths: The files.
    """
    schema = ProtoSchema()
    for path in paths:
        read_proto(path.read_text(encoding="utf-8"), schema)
    return schema


def read_proto(text: str, schema: ProtoSchema) -> None:
    """Add what the text of a .proto file declares to a schema.

    Args:
        text: The content of the file.
        schema: What was found so far.
    """
    tokens = TOKEN.findall(COMMENT.sub(" ", text))
    position = 0
    while position < len(tokens):
        if tokens[position] in ("message", "enum"):
            position = _read_block(tokens, position, schema)
        else:
            position += 1  # syntax, package, import


def _read_block(tokens: list[str], position: int, schema: ProtoSchema) -> int:
    """Read the message or enum that starts at a token; return the position behind it."""
    kind, name = tokens[position], tokens[position + 1]
    position += 3
    if kind == "enum":
        values = schema.enums.setdefault(name, {})
        while tokens[position] != "}":
            values[tokens[position]] = int(tokens[position + 2])
            position = tokens.index(";", position) + 1
        return position + 1
    fields = schema.messages.setdefault(name, [])
    oneof = ""
    while tokens[position] != "}" or oneof:
        token = tokens[position]
        if token in ("message", "enum"):
            position = _read_block(tokens, position, schema)
        elif token == "oneof":
            oneof = tokens[position + 1]
            position += 3
        elif token in ("}", ";"):
            oneof = "" if token == "}" else oneof
            position += 1
        else:
            end = tokens.index(";", position)
            fields.append(_field(tokens[position:end], oneof))
            position = end + 1
    fields.sort(key=lambda item: item.number)
    return position + 1


def _field(words: list[str], oneof: str) -> FieldSpec:
    """Return the field that the words of a declaration describe."""
    declaration, number = words[: words.index("=")], int(words[words.index("=") + 1])
    repeated = declaration[0] == "repeated"
    *type_words, name = declaration[1:] if repeated else declaration
    parts = [word.rpartition(".")[2] for word in type_words]  # map < uint32 , Name >
    return FieldSpec(name, number, "".join(parts), repeated, oneof)
