"""`xpnet train table` on a small data set: it plans, trains, scores, and resumes."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import one_line
from training import table_plan
from training.evaluation.scored_sets import ScoredSet
from training.settings import JOBS
from training.table_plan import ROWS, Plan, choose_rows
from training.table_run import as_markdown, run_table
from xpnet.checksums import sha256
from xpnet.errors import UserError

TINY = {
    "size": 32, "batch": 4, "workers": 0, "accelerator": "cpu", "precision": "32-true"
}  # fmt: skip
CHOSEN = ["teacher 1 itself", "student: alone", "student: teacher 1"]


@pytest.fixture
def table(discs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Return `table(**changes)`: three epochs of five trainings, by rates that are not measured."""
    rates = {"epoch_s": 1.0, "validation_frames_per_s": 1000.0}
    monkeypatch.setattr(table_plan, "measure", lambda settings, steps: rates)

    def run(more: dict[str, Any] | None = None, score: str = "val", **changes: Any) -> str:
        values: dict[str, Any] = {
            "config": "ablation", "overrides": {"data": str(discs), **TINY, **(more or {})},
            "sets": [ScoredSet("discs", discs, score)], "output": tmp_path / "t", "minutes": 0.3,
            "seeds": 2, "only": CHOSEN,
        }  # fmt: skip
        return run_table(**(values | changes))

    return run


def test_rows_are_planned_trained_scored_and_not_repeated(
    table: Callable[..., str], tmp_path: Path
) -> None:
    output = tmp_path / "t"
    result = table()
    plan = json.loads((output / "plan.json").read_text())
    assert plan["epochs"] == 3
    assert plan["seeds"] == {
        "teacher 1 itself": [1], "student: alone": [1, 2], "student: teacher 1": [1, 2]
    }  # fmt: skip
    rows = json.loads((output / "table.json").read_text())["rows"]
    assert list(rows) == list(CHOSEN)
    assert {row: list(seeds) for row, seeds in rows.items()}["student: alone"] == ["1", "2"]
    logs = list(output.glob("*/log.jsonl"))
    assert len(logs) == 5
    assert {json.loads(log.read_text().splitlines()[-1])["epoch"] for log in logs} == {3}
    taught = json.loads((output / "student-teacher-1.seed-2" / "weights.json").read_text())
    assert taught["training"]["settings"]["seed"] == 2
    assert len(taught["training"]["teachers"]) == 1
    written = {path: path.stat().st_mtime_ns for path in output.rglob("weights.safetensors")}
    assert table() == result
    assert {path: path.stat().st_mtime_ns for path in written} == written
    with pytest.raises(
        UserError, match=r"made for other options \(seeds\); choose another output folder"
    ):
        table(seeds=3)


def test_scores_of_another_split_or_of_other_weights_are_made_anew(
    table: Callable[..., str], tmp_path: Path
) -> None:
    def run() -> dict[str, Any]:
        rows = json.loads((tmp_path / "t" / "table.json").read_text())["rows"]
        return dict(rows["U-Net"]["1"])

    table(only=["U-Net"], minutes=0.05)
    first = run()
    assert (first["scores"]["discs"]["split"], first["scores"]["discs"]["frames"]) == ("val", 4)
    table(only=["U-Net"], minutes=0.05, score="train")
    second = run()
    assert (second["scores"]["discs"]["split"], second["scores"]["discs"]["frames"]) == ("train", 8)
    shutil.rmtree(tmp_path / "t" / "U-Net.seed-1")
    plan = tmp_path / "t" / "plan.json"
    plan.write_text(json.dumps({**json.loads(plan.read_text()), "epochs": 1}))
    table(only=["U-Net"], minutes=0.05, score="train")
    third = run()
    assert third["best_epoch"] == 1
    assert third["scores"]["discs"]["sha256"] != second["scores"]["discs"]["sha256"]
    assert third["scores"]["discs"]["sha256"] == sha256(
        tmp_path / "t" / "U-Net.seed-1" / "weights.safetensors"
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"minutes": 0.001, "only": ["student: alone"], "seeds": 3},
         "--minutes 0.001: one epoch of 3 trainings and their scores take 1 minutes"),
        ({"minutes": 0}, "--minutes 0: expected more than 0"),
        ({"minutes": float("nan")}, "--minutes nan: expected more than 0"),
        ({"minutes": float("inf")}, "--minutes inf: expected more than 0"),
        ({"only": ["student"]}, "--only 'student': no such row; known: U-Net; teacher 1 itself"),
        ({"only": ["student: teacher 1"]},
         "--only 'student: teacher 1': needs --only 'teacher 1 itself', too"),
        ({"more": {"epochs": "3"}}, "epochs=3: not for all rows alike, expected --minutes"),
        ({"more": {"seed": "3"}}, "seed=3: not for all rows alike, expected --seeds"),
        ({"more": {"output": "x"}}, "output=x: not for all rows alike, expected --output"),
        ({"more": {"teachers": "[x]"}}, "teachers=[x]: not for all rows alike, expected --only"),
        ({"more": {"devices": 2}}, "devices 2, nodes 1: expected 1 and 1 for a table"),
    ],
)  # fmt: skip
def test_wrong_options_give_one_line(
    table: Callable[..., str], tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=re.escape(message)):
        table(**changes)
    assert not (tmp_path / "t" / "plan.json").exists()


def test_command_refuses_two_sets_of_one_name(xpnet, discs: Path, tmp_path: Path) -> None:
    call = ("train", "table", "--minutes", 1, "--output", tmp_path / "t", f"data={discs}")
    line = one_line(xpnet(*call, "--score", f"val={discs}", "--score", f"val={discs}:val"))
    assert f"--score val={discs}:val: a second set of the name 'val'" in line
    assert not (tmp_path / "t").exists()


def test_all_rows_have_known_settings_and_their_teachers_before_them() -> None:
    seen: set[str] = set()
    for row in choose_rows([]):
        _, kind = JOBS[row.job]
        kind(**row.changes)
        assert set(row.teachers) <= seen
        seen.add(row.name)
    assert len({row.folder for row in ROWS}) == len(ROWS)
    assert sum(row.decides for row in ROWS) == 5


def test_several_seeds_are_shown_by_their_range() -> None:
    def run(dice: float) -> dict[str, object]:
        score = {"dice": dice, "interval": [dice - 0.1, dice + 0.1]}
        return {"parameters": 1000, "minutes": 2.0, "scores": {"val": score}}

    rows = choose_rows(["U-Net", "student: alone"])
    found = {"rows": {"U-Net": {"1": run(0.5)}, "student: alone": {"1": run(0.4), "2": run(0.6)}}}
    measured = {"cores": 2, "machine": "m", "date": "d"}
    plan = Plan(3, {}, 0.0, {}, {}, measured)
    lines = as_markdown(found, rows, plan).splitlines()
    assert lines[2] == "| U-Net | 1,000 | 0.500 (0.400-0.600) | 2.0 |"
    assert lines[3] == "| student: alone | 1,000 | 0.500, 0.400 to 0.600 in 2 seeds | 2.0 |"
