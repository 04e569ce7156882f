"""The files that benchmarks write."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import pytest

from xpnet.commands.report_files import check_report_files, with_section, write_report_files
from xpnet.errors import UserError


def test_table_replaces_its_section_only() -> None:
    page = "# Page\n\n<!-- bench graph -->\nold\n<!-- end graph -->\n\nEnd.\n"
    new = with_section(page, "graph", "| new |\n")
    assert new == "# Page\n\n<!-- bench graph -->\n\n| new |\n\n<!-- end graph -->\n\nEnd.\n"
    assert with_section(new, "graph", "| new |\n") == new
    assert with_section(page, "device", "| new |\n") == "| new |\n"
    assert with_section("", "graph", "| new |\n") == "| new |\n"


def files(**given: Path | None) -> argparse.Namespace:
    return argparse.Namespace(**{"json": None, **given})


def test_report_is_written_to_each_file_that_is_wanted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    drawn: list[Any] = []
    args = files(json=tmp_path / "o.json", markdown=tmp_path / "o.md", plot=tmp_path / "o.png")
    check_report_files(args)
    write_report_files(args, {"a": 1}, "| a |\n", "any", lambda *given: drawn.append(given))
    assert json.loads((tmp_path / "o.json").read_text()) == {"a": 1}
    assert (tmp_path / "o.md").read_text() == capsys.readouterr().out == "| a |\n"
    assert drawn == [({"a": 1}, tmp_path / "o.png")]


def test_files_are_checked_before_any_work(tmp_path: Path) -> None:
    same = tmp_path / "o"
    with pytest.raises(UserError):
        check_report_files(files(json=same, markdown=same))
    clip = tmp_path / "clip.mp4"
    clip.touch()
    with pytest.raises(UserError):
        check_report_files(files(json=clip), (clip,))
    with pytest.raises(UserError, match="missing"):
        check_report_files(files(json=tmp_path / "missing" / "o.json"))
    with pytest.raises(UserError, match=r"\.txt"):
        check_report_files(files(plot=tmp_path / "o.txt"))
