"""docs/troubleshooting.md: each message is one that the program prints."""

from __future__ import annotations

import ast
import re
from functools import cache

import pytest

from tests.conftest import ROOT

PAGE = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
MESSAGES = re.findall(r"^xpnet: (.+)$", PAGE, re.MULTILINE)
MIN_FIXED = 18
"""Fixed characters that a message of the source has at least; fewer would match anything."""

OF_OTHERS = (
    "Could not determine type of stream.",  # GStreamer
    "Could not open resource for reading and writing.",
    "[StatusCode.UNAVAILABLE] ",  # gRPC
    "<urlopen error ",  # Python
    "No space left on device",  # Linux
    "Address already in use",
)
"""How reasons start that another program states."""


@cache
def patterns() -> tuple[re.Pattern[str], ...]:
    """All texts of the source as patterns, with anything in place of a value."""
    found = set()
    for package in ("xpnet", "training", "deepstream"):
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.JoinedStr):
                    parts = [p.value if isinstance(p, ast.Constant) else None for p in node.values]
                elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                    parts = [node.value]
                else:
                    continue
                if sum(len(p) for p in parts if p) >= MIN_FIXED:
                    found.add("".join("(.+)" if p is None else re.escape(p) for p in parts))
    return tuple(re.compile(pattern) for pattern in found)


def is_printed(message: str) -> bool:
    """Whether one text of the source is this message, from its first to its last character.

    A value that is a sentence must be a text of the source, too, or one of other software.
    """
    for pattern in patterns():
        found = pattern.fullmatch(message)
        if found and all(
            value.replace(", ", ",").count(" ") < 3  # a name, or names
            or value.startswith(OF_OTHERS)
            or is_printed(value)
            for value in found.groups()
        ):
            return True
    return False


def test_page_has_twenty_messages_of_its_own() -> None:
    assert len(set(MESSAGES)) == len(MESSAGES)
    assert len(MESSAGES) >= 20
    # A message in a block of another form would not be checked
    blocks = re.findall(r"```text\n(.*?)```", PAGE, re.DOTALL)
    assert [f"xpnet: {m}\n" for m in MESSAGES] == blocks


@pytest.mark.parametrize("message", MESSAGES)
def test_message_is_in_the_source(message: str) -> None:
    assert is_printed(message)


def test_changed_message_is_not_found() -> None:
    assert is_printed("a.mp4: is the input itself: give the output another name")
    assert not is_printed("a.mp4: is the input: give the output another name")
    wrong = "a plan needs TensorRT, which is not installed: install it as you like best"
    assert not is_printed(wrong)


def test_each_message_has_a_cause_and_an_advice() -> None:
    for text in re.split(r"```text\n.*?```", PAGE, flags=re.DOTALL)[1:]:
        assert re.match(r"\s*\*\*Cause\.\*\* ", text), text[:80]
        assert re.search(r"\*\*What\s+to\s+do\.\*\*\s", text), text[:80]
