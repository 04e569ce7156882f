"""`xpnet train table` on a small data set: it plans, trains, scores, and resumes."""

from __future__ import annotations

import json
from pathlib import Path

from tests.conftest import one_line
from training.settings import JOBS
from training.table_plan import ROWS, Plan, choose_rows
from training.table_run import as_markdown

TINY = ("size=32", "batch=4", "workers=0", "accelerator=cpu", "precision=32-true")
CHOSEN = ("teacher 1 itself", "student: alone", "student: teacher 1")


def test_rows_are_planned_trained_scored_and_not_repeated(
    xpnet, discs: Path, tmp_path: Path
) -> None:
    output = tmp_path / "t"
    only = [word for name in CHOSEN for word in ("--only", name)]
    call = ("train", "table", "--minutes", 0.5, "--seeds", 2, "--score", f"discs={discs}:val",
            "--output", output, *only, f"data={discs}", *TINY)  # fmt: skip
    result = xpnet(*call)
    assert result.returncode == 0, result.stderr
    plan = json.loads((output / "plan.json").read_text())
    assert plan["seeds"] == {
        "teacher 1 itself": [1], "student: alone": [1, 2], "student: teacher 1": [1, 2]
    }  # fmt: skip
    rows = json.loads((output / "table.json").read_text())["rows"]
    assert list(rows) == list(CHOSEN)
    assert {row: list(seeds) for row, seeds in rows.items()}["student: alone"] == ["1", "2"]
    logs = list(output.glob("*/log.jsonl"))
    assert len(logs) == 5
    epochs = {json.loads(log.read_text().splitlines()[-1])["epoch"] for log in logs}
    assert epochs == {plan["epochs"]}
    taught = json.loads((output / "student-teacher-1.seed-2" / "weights.json").read_text())
    assert taught["training"]["settings"]["seed"] == 2
    assert len(taught["training"]["teachers"]) == 1
    written = {path: path.stat().st_mtime_ns for path in output.rglob("weights.safetensors")}
    again = xpnet(*call)
    assert again.stdout == result.stdout
    assert {path: path.stat().st_mtime_ns for path in written} == written
    other = one_line(xpnet(*call, "--seeds", 3))
    assert "plan.json: made for other options (seeds); choose another output folder" in other


def test_wrong_options_give_one_line(xpnet, discs: Path, tmp_path: Path) -> None:
    call = ("train", "table", "--score", f"discs={discs}:val", "--output", tmp_path / "t",
            f"data={discs}", *TINY)  # fmt: skip
    line = one_line(xpnet(*call, "--minutes", 0.001, "--only", "student: alone"))
    assert "--minutes 0.001: one epoch of 3 trainings and their scores take 1 minutes" in line
    assert "--minutes 0: expected more than 0" in one_line(xpnet(*call, "--minutes", 0))
    unknown = one_line(xpnet(*call, "--minutes", 1, "--only", "student"))
    assert "--only 'student': no such row; known: U-Net; teacher 1 itself" in unknown
    alone = one_line(xpnet(*call, "--minutes", 1, "--only", "student: teacher 1"))
    assert "--only 'student: teacher 1': needs --only 'teacher 1 itself', too" in alone
    assert not (tmp_path / "t" / "plan.json").exists()


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
