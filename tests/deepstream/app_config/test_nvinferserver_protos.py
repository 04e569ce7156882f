"""Our schema of nvinferserver's config against NVIDIA's .proto files, where a machine has them.

Set XPNET_NVINFERSERVER_PROTOS to a folder with the three files to run it on another machine.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from deepstream.app_config.nvinferserver_schema import (
    ENUMS,
    MESSAGES,
    FieldSpec,
    empty_plugin_control,
    message_fields,
)
from tests.deepstream.app_config.proto_files import ProtoSchema, read_proto, read_proto_files

NAMES = tuple(f"nvdsinferserver_{part}.proto" for part in ("common", "config", "plugin"))
FOLDERS = tuple(
    Path("/opt/nvidia/deepstream/deepstream") / part for part in ("sources/includes", "includes")
)
"""Where a DeepStream installation has them."""
VARIABLE = "XPNET_NVINFERSERVER_PROTOS"


def proto_files() -> list[Path]:
    """Return NVIDIA's files; empty if this machine has none."""
    chosen = os.environ.get(VARIABLE)
    for folder in (Path(chosen),) if chosen else FOLDERS:
        paths = [folder / name for name in NAMES]
        if all(path.is_file() for path in paths):
            return paths
    assert not chosen, f"{VARIABLE}={chosen}: expected {', '.join(NAMES)} in it"
    return []


@pytest.fixture(scope="module")
def nvidia() -> ProtoSchema:
    """Return what NVIDIA's files declare."""
    paths = proto_files()
    if not paths:
        pytest.skip(f"no DeepStream with {NAMES[0]} here, and {VARIABLE} is not set")
    return read_proto_files(paths)


def test_messages_and_fields_are_nvidias(nvidia: ProtoSchema) -> None:
    """Names, numbers, types, lists and oneofs."""
    assert {name: message_fields(name) for name in MESSAGES} == nvidia.messages


def test_enum_values_are_nvidias(nvidia: ProtoSchema) -> None:
    ours = {name: {v: n for n, v in enumerate(text.split())} for name, text in ENUMS.items()}
    assert ours == nvidia.enums


def test_message_class_has_the_numbers_of_the_schema() -> None:
    descriptor = empty_plugin_control().DESCRIPTOR.file.pool
    for name in MESSAGES:
        found = descriptor.FindMessageTypeByName(f"xpnet.{name}").fields
        numbers = {field.name: field.number for field in found}
        assert numbers == {field.name: field.number for field in message_fields(name)}


def test_reader_understands_everything_that_the_files_use() -> None:
    text = """
    syntax = "proto3"; import "other.proto"; package some.where; // message Fake {}
    /* enum Fake { X = 0; } */
    enum Colour { COLOUR_NONE = 0; COLOUR_RED = 3; }
    message Outer {
      message Inner { float a = 1; }
      repeated int32 ids = 2;
      oneof choice { Inner first = 4; string second = 1; }
      map<uint32, some.where.Inner> table = 7; Colour colour = 3;
    }
    """
    schema = ProtoSchema()
    read_proto(text, schema)
    assert schema.enums == {"Colour": {"COLOUR_NONE": 0, "COLOUR_RED": 3}}
    assert schema.messages == {
        "Inner": [FieldSpec("a", 1, "float")],
        "Outer": [
            FieldSpec("second", 1, "string", oneof="choice"),
            FieldSpec("ids", 2, "int32", repeated=True),
            FieldSpec("colour", 3, "Colour"),
            FieldSpec("first", 4, "Inner", oneof="choice"),
            FieldSpec("table", 7, "map<uint32,Inner>"),
        ],
    }
