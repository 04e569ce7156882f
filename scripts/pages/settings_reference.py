"""docs/reference/settings.md from the classes of settings and of the model card."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import io
import re
import tokenize
import typing
from pathlib import Path
from typing import Any

from pydantic.fields import FieldInfo

from deepstream.control.appearance import Appearance, check_value
from deepstream.recording.recorder import RecordSettings
from deepstream.run import RunSettings
from scripts.pages.markdown import NOTICE, table
from training.settings import JOBS, DistillSettings, Pix2PixSettings, TrainSettings
from xpnet.card import Card, DataSource, TensorSpec
from xpnet.errors import UserError
from xpnet.overlay import OverlayStyle
from xpnet.paths import ROOT

INTRO = """# Settings

## Trainings

`xpnet train JOB key=value` and `xpnet distill --model MODEL key=value` take these settings, and so
do the sections of a file for `--config` ([training](../training.md#settings)). An unknown key or a
value out of range ends the command with one line. The files of the project are
`training/configs/*.yaml`. A default here is that of a setting which neither the file nor the
command line names.
"""
RUN = """## A run

What the options of [`xpnet run`](commands.md#xpnet-run) set, by their names in Python:
`deepstream.run.run(RunSettings(...))`.
"""
SAVED = """## A run's saved settings

`~/.config/xpnet/overlay.json`, or the file of `--settings`: a JSON object with these keys. The
page, keys of the window, `POST /settings` and `xpnet run set` change them
([control](../control.md)). The defaults of a run are those of the options of `xpnet run`.
"""
CARD = """## The model card

`card.json` beside a model, the JSON file beside weights, and the key `xpnet_card` in the metadata
of an ONNX file. `xpnet.card` checks a card when it is read: a missing or unknown field, or a value
that contradicts another one, is an error.
"""


def settings_page() -> str:
    """Return the page."""
    lines = [NOTICE, "", INTRO]
    rows = [
        (f"`{job}`", f"`{network}`", _title(kind)) for job, (network, kind) in sorted(JOBS.items())
    ]
    lines += [*table(("section of the file", "network", "settings"), rows), ""]
    for kind in (TrainSettings, Pix2PixSettings, DistillSettings):
        lines += [f"### {_title(kind)}", "", *_training(kind), ""]
    lines += [RUN, *_documented(RunSettings), "", "### Recording", "", *_documented(RecordSettings)]
    lines += ["", SAVED, *_saved(), "", CARD, *_commented(Card)]
    lines += ["", "### A tensor", "", *_commented(TensorSpec)]
    lines += ["", "### A data set", "", *_commented(DataSource)]
    return "\n".join(lines).rstrip() + "\n"


def _title(kind: type[TrainSettings]) -> str:
    return {TrainSettings: "All trainings", Pix2PixSettings: "Only pix2pix (teacher 2)",
            DistillSettings: "Only distillation"}[kind]  # fmt: skip


def _training(kind: type[TrainSettings]) -> list[str]:
    """Return the table of the settings that a class defines itself."""
    meanings = field_comments(kind)
    rows = [
        (f"`{name}`", values_of(kind.model_fields[name]), _shown(kind.model_fields[name].default),
         meanings[name])
        for name in meanings
    ]  # fmt: skip
    return table(("setting", "values", "default", "meaning"), rows)


def values_of(field: FieldInfo) -> str:
    """Return which values a setting of a training takes."""
    kind = field.annotation
    if typing.get_origin(kind) is typing.Literal:
        return ", ".join(f"`{value}`" for value in typing.get_args(kind))
    name = {bool: "`true`, `false`", int: "whole number", float: "number", str: "text"}.get(
        typing.cast(Any, kind), "list of texts"
    )
    limits = {"ge": "from {}", "le": "to {}", "multiple_of": "a multiple of {}"}
    for rule in field.metadata:
        for key, text in limits.items():
            value = getattr(rule, key, None)
            if value is not None and value != float("inf"):
                name += (", " if key == "multiple_of" else " ") + text.format(value)
    return name


def field_comments(kind: type) -> dict[str, str]:
    """Return the comment of each field of a class: the lines above it, or behind it.

    Args:
        kind: A class whose source has a comment for each field.
    """
    source = inspect.getsource(kind)
    comments = {
        token.start[0]: token.string.lstrip("# ").strip()
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT
    }
    lines = source.splitlines()
    (body,) = ast.parse(source).body
    assert isinstance(body, ast.ClassDef)
    found = {}
    for node in body.body:
        if not (isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)):
            continue
        first = node.lineno
        while first - 1 in comments and lines[first - 2].lstrip().startswith("#"):
            first -= 1
        words = [comments[n] for n in range(first, node.lineno)]
        words += [comments[n] for n in (node.end_lineno or node.lineno,) if n in comments]
        found[node.target.id] = _joined(words)
    return found


def _joined(words: list[str]) -> str:
    """Join the lines of a comment; one such as `auto: ...` explains another value."""
    text = ""
    for line in words:
        text += ("; " if text and re.match(r"\w+: ", line) else " ") + line
    return text.strip()


def _documented(kind: type) -> list[str]:
    """Return the table of a dataclass whose docstring has a section `Attributes`."""
    meanings = docstring_attributes(kind)
    rows = []
    for field in dataclasses.fields(kind):
        default = field.default
        if field.default_factory is not dataclasses.MISSING:
            default = ""
        rows.append((f"`{field.name}`", _shown(default), meanings[field.name]))
    return table(("setting", "default", "meaning"), rows)


def docstring_attributes(kind: type) -> dict[str, str]:
    """Return the section `Attributes` of a class's docstring in Google style."""
    text = inspect.getdoc(kind) or ""
    section = re.search(r"^Attributes:\n((?:[ ]{4}.*\n?|\n)*)", text, re.MULTILINE)
    assert section is not None, kind
    entries = re.findall(r"^ {4}(\w+): (.*(?:\n {5,}.*)*)", section[1], re.MULTILINE)
    return {name: " ".join(words.split()) for name, words in entries}


def _commented(kind: type) -> list[str]:
    """Return the table of a dataclass of the model card, whose fields have comments."""
    meanings = field_comments(kind)
    rows = [
        (f"`{field.name}`", _json_type(typing.get_type_hints(kind)[field.name]),
         meanings[field.name])
        for field in dataclasses.fields(kind)
    ]  # fmt: skip
    return table(("field", "JSON", "meaning"), rows)


def _json_type(kind: Any) -> str:
    names = {str: "text", int: "whole number", float: "number", TensorSpec: "a tensor"}
    if kind in names:
        return names[kind]
    if typing.get_origin(kind) is tuple:
        inner = typing.get_args(kind)
        return "list of data sets" if DataSource in inner else f"list of {len(inner)} numbers"
    return "object"


def _saved() -> list[str]:
    texts = {**docstring_attributes(Appearance), **docstring_attributes(OverlayStyle)}
    texts["colour"] = "of the masks, as RRGGBB"
    rows = [
        (f"`{name}`", _json_values(name), texts[name].replace("None", "`null`"))
        for name in Appearance().as_dict()
    ]
    return table(("key", "values", "meaning"), rows)


def _json_values(name: str) -> str:
    """Return which values a saved setting takes, by asking the check of the program."""
    tried: dict[str, Any] = {"`true`, `false`": True, "number from 0 to 1": 0.5, "text": "auto"}
    accepted = [words for words, value in tried.items() if _accepts(name, value)]
    (kind,) = accepted
    return f"{kind}, or `null`" if name != "region" and _accepts(name, None) else kind


def _accepts(name: str, value: Any) -> bool:
    try:
        check_value(name, value)
    except UserError:
        return False
    return True


def _shown(value: Any) -> str:
    """Return a default as it is written in a settings file."""
    if value is dataclasses.MISSING or value == "":
        return ""
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if value is None:
        return ""
    if isinstance(value, tuple):
        return "none" if not value else f"`{value}`"
    if isinstance(value, float | int):
        return f"{value:g}"
    if isinstance(value, Path):
        return f"`{value.relative_to(ROOT).as_posix()}`"
    return f"`{value}`"
