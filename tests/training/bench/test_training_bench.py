"""`xpnet bench training` on a CPU, and the rates that it reports."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import one_line
from training.bench.training_bench import PARTS, as_markdown, bench_training, measure
from training.jobs import train

SMALL = ("--steps", 2, "size=32", "batch=4", "workers=0", "accelerator=cpu", "precision=32-true")


def test_parts_of_a_step_are_timed(xpnet, tmp_path: Path) -> None:
    written, page = tmp_path / "o.json", tmp_path / "o.md"
    result = xpnet("bench", "training", "--jobs", "student", "teacher2", *SMALL,
                   "--json", written, "--markdown", page)  # fmt: skip
    assert result.returncode == 0, result.stderr
    report = json.loads(written.read_text())
    assert [row["job"] for row in report["rows"]] == ["student", "teacher2"]
    for row in report["rows"]:
        assert set(row["parts_ms"]) == set(PARTS)
        assert all(time > 0 for time in row["parts_ms"].values())
        assert row["epoch_s"] > 40 / row["frames_per_s"]  # 40 frames, then the validation
    assert page.read_text() == result.stdout == as_markdown(report)


def test_parts_add_up_to_a_step(tiny: Callable[..., Any]) -> None:
    row = measure(tiny(size=64), 4)
    step_ms = 1000 * row["batch"] / row["frames_per_s"]
    # The two are measured one after the other, on a machine that may be busy.
    assert sum(row["parts_ms"].values()) == pytest.approx(step_ms, rel=0.8)
    assert row["parts_ms"]["backward"] > row["parts_ms"]["averaging"]


def test_a_step_with_discriminator_is_among_the_measured(tiny: Callable[..., Any]) -> None:
    teacher = tiny("teacher1", epochs=1)
    weights = train(teacher)
    settings = tiny("distill_xpnet", teachers=(str(weights),), adversarial_every=3)
    report = bench_training({"taught": settings}, 1)
    (row,) = report["rows"]
    assert (row["job"], row["network"]) == ("taught", "student")
    assert not Path(settings.output).exists()  # nothing is written where the training would be


def test_wrong_options_give_one_line(xpnet) -> None:
    assert "--steps 0: expected at least 1" in one_line(xpnet("bench", "training", "--steps", 0))
    line = one_line(xpnet("bench", "training", *SMALL, "data=/nothing"))
    assert "/nothing: no such folder" in line
