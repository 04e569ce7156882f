"""The generated pages: equal to what the commands make, and complete."""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import pytest
from pydantic import BaseModel, Field

from scripts.pages import soup
from scripts.pages.__main__ import DOCS, contents, write_pages
from scripts.pages.command_reference import commands_page
from scripts.pages.data_facts import main as measure_data
from scripts.pages.data_facts import measure
from scripts.pages.markdown import cell, with_sections
from scripts.pages.settings_reference import field_comments, settings_page, values_of
from scripts.pages.svg import Drawing
from tests.conftest import ROOT
from tests.training.conftest import make_discs
from training.data.readers import read_data_set
from training.settings import JOBS
from xpnet.cli import build_parser, command_names
from xpnet.errors import UserError

MADE = contents(DOCS)


@pytest.mark.parametrize("name", MADE)
def test_committed_page_is_what_the_command_makes(name: str) -> None:
    assert (DOCS / name).read_text(encoding="utf-8") == MADE[name], "run `make pages`"


def test_command_writes_only_what_has_changed(tmp_path: Path) -> None:
    for name in MADE:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text((DOCS / name).read_text("utf-8"), encoding="utf-8")
    page = tmp_path / "safety-notes.md"
    page.write_text(page.read_text("utf-8").replace("| numpy | 2", "| numpy | 1"), encoding="utf-8")
    assert write_pages(tmp_path) == ["safety-notes.md"]
    assert write_pages(tmp_path) == []


def test_every_option_is_in_the_reference() -> None:
    page = commands_page()
    parser = build_parser()
    (commands,) = (a for a in parser._actions if isinstance(a, argparse._SubParsersAction))
    assert re.findall(r"^## xpnet (.*)$", page, re.MULTILINE) == command_names(parser)
    for name, command in commands.choices.items():
        section = page.partition(f"## xpnet {name}\n")[2].partition("\n## ")[0]
        for action in command._actions[1:]:
            words = action.option_strings or [action.metavar or action.dest]
            if not action.option_strings and action.choices:
                words = ["{" + ",".join(action.choices) + "}"]
            for word in words:
                assert f"`{word}" in section, (name, word)


def test_every_option_says_what_it_means_and_no_path_of_this_machine() -> None:
    page = commands_page()
    assert re.findall(r"^\| .* \| .* \| +\|$", page, re.MULTILINE) == []
    assert str(ROOT) not in page
    assert str(ROOT) not in settings_page()


def test_a_second_default_stays_in_the_text() -> None:
    row = re.search(r"^\| `--fps FPS` \| (.*?) \| (.*) \|$", commands_page(), re.MULTILINE)
    assert row is not None
    assert row[1] == ""
    assert "(default: 25)" in row[2]
    assert "(default: its own)" in row[2]


def test_every_setting_of_a_training_has_a_meaning() -> None:
    page = settings_page()
    for _, kind in JOBS.values():
        for name in kind.model_fields:
            assert re.search(rf"^\| `{name}` \| [^|]+ \| [^|]* \| \w[^|]* \|$", page, re.M), name
    assert re.findall(r"^\| .* \| +\|$", page, re.MULTILINE) == []


class Example(BaseModel):
    share: Annotated[float, Field(ge=0, le=0.5)] = 0.1  # of the frames
    # how it is done
    # fast: without care
    way: str = "slow"


def test_comments_and_limits_of_a_class_are_read() -> None:
    assert field_comments(Example) == {
        "share": "of the frames",
        "way": "how it is done; fast: without care",
    }
    assert values_of(Example.model_fields["share"]) == "number from 0 to 0.5"


def test_section_that_a_page_lacks_is_an_error() -> None:
    page = "a\n<!-- made: one -->\nold\n<!-- end: one -->\nb\n"
    assert with_sections(page, {"one": ["new"]}) == (
        "a\n<!-- made: one -->\n\nnew\n\n<!-- end: one -->\nb\n"
    )
    with pytest.raises(UserError, match="no lines <!-- made: two -->"):
        with_sections(page, {"two": ["new"]})
    assert cell("a|b\nc") == r"a\|b c"


def test_package_without_purpose_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pinned = (ROOT / "requirements.txt").read_text(encoding="utf-8")
    (tmp_path / "requirements.txt").write_text(f"{pinned}new-package==1.0\n")
    monkeypatch.setattr(soup, "ROOT", tmp_path)
    with pytest.raises(UserError, match="differ in: new-package"):
        soup.run_table()
    (tmp_path / "requirements.txt").write_text("numpy>=2\n")
    with pytest.raises(UserError, match="expected NAME==VERSION"):
        soup.run_table()


def test_text_of_a_drawing_is_escaped() -> None:
    drawing = Drawing(10, 10, "a & b")
    drawing.box((0, 0), (5, 5), ("x < y", "z"))
    assert "x &lt; y" in drawing.as_svg()
    assert "<title>a &amp; b</title>" in drawing.as_svg()


def test_facts_of_a_data_set(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = make_discs(tmp_path / "discs")
    cv2.imwrite(str(folder / "masks" / "0.png"), np.zeros((64, 64), np.uint8))
    facts = measure(read_data_set(folder))
    assert (facts["frames"], facts["empty"]) == (12, 1)
    assert facts["polyps"] == {"all": 11, "small": 0, "medium": 0, "large": 11}
    assert facts["height"] == [64, 64, 64]
    assert facts["centres"] == facts["splits"] == {}
    assert str(folder) not in json.dumps(facts)
    assert measure_data(["without-equals"]) == 2
    assert "expected NAME=DIR" in capsys.readouterr().err
