"""The ablation on a small data set: each variant is trained once and skipped in later runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.conftest import one_line
from training.ablation import VARIANTS, as_markdown
from training.evaluation.scored_sets import parse_set, parse_sets
from training.settings import JOBS
from xpnet.errors import UserError

TINY = ("size=32", "epochs=1", "batch=4", "workers=0", "accelerator=cpu", "precision=32-true")


def test_variant_without_teachers_runs_and_is_not_repeated(
    xpnet, discs: Path, tmp_path: Path
) -> None:
    call = ("train", "ablation", "--score", f"discs={discs}:val", "--output", tmp_path / "a",
            f"data={discs}", *TINY)  # fmt: skip
    result = xpnet(*call)
    assert result.returncode == 0, result.stderr
    assert result.stderr.count("skipped; its teacher was not given") == len(VARIANTS) - 2
    rows = json.loads((tmp_path / "a" / "ablation.json").read_text())
    assert list(rows) == ["alone", "alone, scope augmentation"]
    score = rows["alone"]["scores"]["discs"]
    assert (score["frames"], score["split"]) == (4, "val")
    assert f"| alone | {score['dice']:.3f} (" in result.stdout
    weights = tmp_path / "a" / "alone" / "weights.safetensors"
    before = weights.stat().st_mtime_ns
    again = xpnet(*call)
    assert again.stdout == result.stdout
    assert weights.stat().st_mtime_ns == before
    wrong = xpnet("train", "ablation", "--score", "x=none", "--output", tmp_path / "b")
    assert "none: no such folder" in one_line(wrong)
    wrong = xpnet(*call, "output=elsewhere")
    assert "output=elsewhere: not for all rows alike, expected --output" in one_line(wrong)
    wrong = xpnet(*call, "teachers=[x]")
    assert "teachers=[x]: not for all rows alike, expected --teacher" in one_line(wrong)
    assert not (tmp_path / "b").exists()


def test_only_adds_its_row_to_the_existing_results(xpnet, discs: Path, tmp_path: Path) -> None:
    score = {"frames": 4, "dice": 0.5, "interval": [0.4, 0.6], "iou": 0.4, "polyps": {}}
    others = {"teacher 1": {"scores": {"discs": score}, "minutes": 1.0, "epochs": 1}}
    results = tmp_path / "ablation.json"
    results.write_text(json.dumps(others))
    call = (
        "train",
        "ablation",
        "--score",
        f"discs={discs}:val",
        "--output",
        tmp_path,
        f"data={discs}",
    )
    result = xpnet(*call, "--only", "alone", *TINY)
    assert result.returncode == 0, result.stderr
    rows = json.loads(results.read_text())
    assert set(rows) == {"alone", "teacher 1"}
    assert rows["teacher 1"] == others["teacher 1"]
    assert [line.split(" |")[0] for line in result.stdout.splitlines()[2:]] == [
        "| alone",
        "| teacher 1",
    ]
    assert "--only 'alones': no such variant" in one_line(xpnet(*call, "--only", "alones"))


def test_variants_cover_no_teacher_each_teacher_and_each_order() -> None:
    assert [v.teachers for v in VARIANTS if not v.changes] == [(), (1,), (2,)]
    orders = [v.changes["order"] for v in VARIANTS if v.teachers == (1, 2)]
    assert orders == ["orderly", "alternate", "random"]
    assert any(3 in v.teachers for v in VARIANTS)
    _, kind = JOBS["distill_xpnet"]
    for variant in VARIANTS:
        kind(**variant.changes)  # known settings, in their ranges


def test_data_set_argument_is_parsed() -> None:
    made = parse_set("kvasir-seg=/data/k")
    assert (made.name, str(made.folder), made.split) == ("kvasir-seg", "/data/k", None)
    assert parse_set("val=d:val").split == "val"
    assert [one.name for one in parse_sets(["a=d", "b=d"])] == ["a", "b"]
    with pytest.raises(UserError, match="--score a=e: a second set of the name 'a'"):
        parse_sets(["a=d", "a=e"])
    with pytest.raises(UserError, match="expected NAME=DIR or NAME=DIR:SPLIT"):
        parse_set("d")


def test_table_row_has_dice_interval_and_minutes() -> None:
    score = {"frames": 4, "dice": 0.5, "interval": [0.4, 0.6], "iou": 0.4, "polyps": {}}
    text = as_markdown({"alone": {"scores": {"val": score}, "minutes": 3.4, "epochs": 1}})
    assert text.splitlines()[-1] == "| alone | 0.500 (0.400-0.600) | 3 |"
