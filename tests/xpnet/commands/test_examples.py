"""Every command explains itself with an example that parses; two-word commands are joined."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from tests.conftest import ROOT
from xpnet.cli import build_parser, command_names, join_command, parse

NAMES = command_names(build_parser())
VERBS = {
    "run", "serve", "archive", "evaluate", "train", "distill", "export", "build", "deploy", "bench",
    "doctor",
}  # fmt: skip


def example_of(name: str, capsys: pytest.CaptureFixture[str]) -> str:
    """Return the example at the end of a command's help."""
    with pytest.raises(SystemExit) as exit_:
        parse([*name.split(), "--help"])
    assert exit_.value.code == 0
    lines = capsys.readouterr().out.splitlines()
    return lines[lines.index("example:") + 1].strip()


def test_there_are_few_commands() -> None:
    assert {name.split()[0] for name in NAMES} == VERBS


@pytest.mark.parametrize("name", NAMES)
def test_the_example_of_each_command_parses_and_runs_that_command(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    example = example_of(name, capsys)
    words = [str(path) for word in shlex.split(example) for path in expanded(word)]
    assert words[0] == "xpnet"
    if name == "bench":  # its own example is that of a further command
        assert " ".join(words[1:3]) in NAMES
        return
    assert words[1 : 1 + len(name.split())] == name.split()
    arguments = parse(words[1:])
    assert arguments.command is parse_default(name)


def expanded(word: str) -> list[Path | str]:
    """Return the files of a pattern, or the word itself; files of the repository must exist."""
    if "*" in word:
        found = sorted(ROOT.glob(word))
        assert found, word
        return list(found)
    if word.startswith(("docs/", "training/", "triton_models/", "tests/")):
        assert (ROOT / word).exists(), word
    return [word]


def parse_default(name: str) -> object:
    """Return the function that a command runs."""
    parser = next(a for a in build_parser()._actions if a.choices and name in a.choices)
    return parser.choices[name].get_default("command")  # type: ignore[index]


def test_help_of_a_command_lists_its_subcommands(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse(["evaluate", "--help"])
    shown = capsys.readouterr().out
    assert all(f"xpnet evaluate {word}" in shown for word in ("panel", "table", "curves"))


@pytest.mark.parametrize(
    ("words", "joined"),
    [
        (["run", "graph", "clip.mp4"], ["run graph", "clip.mp4"]),
        (["--debug", "doctor", "info"], ["--debug", "doctor info"]),
        (["run", "clip.mp4"], ["run", "clip.mp4"]),
        (["run", "./graph"], ["run", "./graph"]),
        (["doctor"], ["doctor"]),
        ([], []),
    ],
)
def test_two_words_become_one_command(words: list[str], joined: list[str]) -> None:
    assert join_command(words, NAMES) == joined


@pytest.mark.parametrize("verb", ["graph", "table", "panel", "tune", "info", "verify-target"])
def test_removed_command_is_refused(verb: str) -> None:
    with pytest.raises(SystemExit) as exit_:
        parse([verb])
    assert exit_.value.code == 2


def test_settings_may_come_before_and_after_options() -> None:
    arguments = parse(["train", "student", "data=DIR", "--config", "gpu", "epochs=3"])
    assert (arguments.job, arguments.config) == ("student", "gpu")
    assert sorted(arguments.override) == ["data=DIR", "epochs=3"]
