"""`xpnet bench training` on a CPU, and the rates that it reports."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import one_line
from training.bench import training_bench
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
        assert row["epoch_s"] > 0
        assert row["frames_per_s"] > 0
    assert page.read_text() == result.stdout == as_markdown(report)


@pytest.mark.parametrize(("batch", "frames_per_s", "epoch_s"), [(4, 2.0, 5.0), (16, 4.0, 3.0)])
def test_rates_count_the_frames_of_a_step(
    tiny: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    batch: int,
    frames_per_s: float,
    epoch_s: float,
) -> None:
    """Steps of two seconds, on eight frames: two steps of four, or one of all that there are."""
    parts = dict.fromkeys(PARTS, 1.0)
    monkeypatch.setattr(training_bench, "_run", lambda trainer, count, watch: 2.0 * count)
    monkeypatch.setattr(training_bench, "_measure_parts", lambda trainer, count: parts)
    monkeypatch.setattr(training_bench, "_measure_data", lambda trainer, count: 0.5 * count)
    monkeypatch.setattr(training_bench, "_measure_validation", lambda trainer: 1.0)
    row = measure(tiny(batch=batch), 4)
    assert (row["frames_per_s"], row["epoch_s"]) == (frames_per_s, epoch_s)
    assert row["data_frames_per_s"] == 4 * frames_per_s
    assert row["validation_frames_per_s"] == 4.0


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
