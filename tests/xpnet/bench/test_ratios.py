"""The regression guard: what counts as worse, what is kept, and what the command does with it."""

from __future__ import annotations

import argparse
import json
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT
from xpnet.bench.ratio_workloads import Workloads
from xpnet.bench.ratios import (
    LEAST_TOLERANCE,
    RATIOS,
    as_markdown,
    compare,
    ratios_of,
    read_file,
    with_tolerance,
    write_entry,
)
from xpnet.commands import bench_check
from xpnet.commands.report_files import with_section
from xpnet.errors import UserError
from xpnet.host.cpu import machine_type
from xpnet.paths import MODEL_REPOSITORY

NAME = "overlay / copy"


def entry_of(ratios: dict[str, float]) -> dict[str, Any]:
    kept = {name: {"ratio": value, "tolerance": 0.2, "runs": [value]} for name, value in
            ratios.items()}  # fmt: skip
    return {"machine": "m", "cores": 2, "date": "d", "versions": {"numpy": "0.1"}, "rounds": 3,
            "load_before": 0.0, "load_after": 1.0, "ratios": kept}  # fmt: skip


def test_ratio_is_the_median_of_the_quotients_within_rounds() -> None:
    times = {
        "preprocess": [1.0, 10.0, 1.0],
        "mask": [1.0, 10.0, 2.0],
        "lite fp32": [4.0, 40.0, 4.0],
        "copy": [1.0, 1.0, 1.0],
    }
    # The slow round counts as the others; a ratio with a workload that was not timed is left out
    assert ratios_of(times) == {"pre + post / inference": 0.5}


def test_tolerance_is_three_times_the_largest_deviation_and_at_least_ten_percent() -> None:
    assert with_tolerance([1.0, 1.0, 0.9])["tolerance"] == pytest.approx(0.3)
    assert with_tolerance([2.0, 2.0, 2.01])["tolerance"] == LEAST_TOLERANCE


@pytest.mark.parametrize(
    ("found", "verdict"),
    [(1.19, "same"), (1.21, "worse"), (0.84, "same"), (0.83, "better")],
)
def test_verdict(found: float, verdict: str) -> None:
    assert compare({NAME: found}, entry_of({NAME: 1.0}))[0].verdict == verdict


def test_ratio_that_is_not_kept_is_new() -> None:
    assert compare({NAME: 9.0}, {})[0].verdict == "new"


def test_entry_of_another_machine_stays_and_no_ratio_is_lost(tmp_path: Path) -> None:
    file = tmp_path / "ratios.json"
    write_entry(file, "one", entry_of({NAME: 1.0}))
    write_entry(file, "two", entry_of({NAME: 2.0}))
    before = file.read_text()
    assert {k: e["ratios"][NAME]["ratio"] for k, e in read_file(file).items()} == {
        "one": 1.0, "two": 2.0
    }  # fmt: skip
    with pytest.raises(UserError, match="overlay / copy would be lost"):
        write_entry(file, "two", entry_of({"outline / copy": 1.0}))
    assert file.read_text() == before


@pytest.mark.parametrize(
    "text", ["[]", "{", '{"machines": {"a": {"ratios": {"b": {"ratio": 0}}}}}']
)
def test_broken_file_is_named(text: str, tmp_path: Path) -> None:
    file = tmp_path / "ratios.json"
    file.write_text(text)
    with pytest.raises(UserError, match="not a file of `xpnet bench check --update`"):
        read_file(file)


def test_page_has_the_ratios_of_the_file() -> None:
    page = (ROOT / "docs" / "regression.md").read_text(encoding="utf-8")
    entries = read_file(bench_check.RATIOS_FILE)
    assert entries
    assert with_section(page, "ratios", as_markdown(entries)) == page
    for entry in entries.values():
        assert entry["ratios"].keys() == {ratio.name for ratio in RATIOS}


def test_everything_that_a_ratio_needs_can_be_timed() -> None:
    workloads = Workloads(MODEL_REPOSITORY, None)
    needed = {workload for ratio in RATIOS for workload in (*ratio.above, *ratio.below)}
    assert needed - workloads.calls.keys() == {"unet fp32"}
    for call in workloads.calls.values():
        call()


def test_missing_model_is_named_and_the_rest_is_there(tmp_path: Path) -> None:
    workloads = Workloads(tmp_path, None)
    assert workloads.calls.keys() == {"copy", "outline", "overlay"}
    assert all("no such ONNX file" in line for line in workloads.missing)


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What the next measurements of the command return for NAME."""
    values: list[float] = []

    @contextmanager
    def no_unet() -> Any:
        yield None, ""

    monkeypatch.setattr(bench_check, "_unet", no_unet)
    monkeypatch.setattr(bench_check, "_measure", lambda *_: {NAME: values.pop(0)})
    return values


def options(file: Path, **changed: Any) -> argparse.Namespace:
    given = {"file": file, "rounds": 3, "runs": 2, "update": False, "markdown": None,
             "repository": MODEL_REPOSITORY}  # fmt: skip
    return argparse.Namespace(**{**given, **changed})


def test_command_fails_only_if_a_ratio_is_worse_twice(
    measured: list[float], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "ratios.json"
    write_entry(file, machine_type(), entry_of({NAME: 1.0}))
    measured += [1.5, 1.1]
    assert bench_check.check(options(file)) == 0
    measured += [1.5, 1.6]
    assert bench_check.check(options(file)) == 1
    shown = capsys.readouterr().out
    assert "worse: overlay / copy" in shown
    assert "draw_on_planes in xpnet/overlay.py" in shown
    assert "versions differ from those of the file: numpy 0.1 -> " in shown


def test_machine_without_an_entry_compares_nothing(
    measured: list[float], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "ratios.json"
    write_entry(file, "another", entry_of({NAME: 1.0}))
    measured += [50.0]
    assert bench_check.check(options(file)) == 0
    assert "nothing is compared" in capsys.readouterr().out


def test_update_writes_file_and_page(measured: list[float], tmp_path: Path) -> None:
    file, page = tmp_path / "ratios.json", tmp_path / "page.md"
    page.write_text("before\n<!-- bench ratios -->\nold\n<!-- end ratios -->\nafter\n")
    measured += [1.0, 1.1]
    assert bench_check.check(options(file, update=True, markdown=page)) == 0
    entry = json.loads(file.read_text())["machines"][machine_type()]
    assert entry["ratios"][NAME]["runs"] == [1.0, 1.1]
    assert {"machine", "date", "versions"} <= entry.keys()
    text = page.read_text()
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "old" not in text
    assert "| overlay / copy | 1.0500 |" in text
