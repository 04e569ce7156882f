from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest

from training.data.readers import FOLDS
from training.settings import (
    CONFIGS,
    JOBS,
    DistillSettings,
    TrainSettings,
    parse_overrides,
    read_settings,
)
from xpnet.cli import parse
from xpnet.errors import UserError


@pytest.mark.parametrize("config", ["paper", "cpu", "gpu", "ablation"])
@pytest.mark.parametrize("job", JOBS)
def test_every_config_file_is_valid_for_every_job(config: str, job: str) -> None:
    made = read_settings(job, config, {})
    assert made.network == JOBS[job][0]
    assert made.output == f"build/training/{job}"


def test_settings_and_check_data_know_the_splits_of_the_reader() -> None:
    splits = ("groups", "random", *FOLDS)
    assert get_args(TrainSettings.model_fields["split"].annotation) == splits
    for split in splits:
        assert parse(["train", "check-data", "DIR", "--split", split]).split == split


def test_paper_config_has_the_values_of_the_paper() -> None:
    """Section 3.2 of the paper."""
    teacher, student = (
        read_settings("teacher1", "paper", {}),
        read_settings("distill_xpnet", "paper", {}),
    )
    assert (teacher.size, teacher.epochs, teacher.batch, teacher.learning_rate) == (
        512,
        450,
        8,
        3e-4,
    )
    assert (teacher.optimiser, teacher.schedule, teacher.split) == ("adam", "step", "random")
    assert isinstance(student, DistillSettings)
    assert (student.learning_rate, student.beta1, student.adversarial) == (1e-4, 0.5, 0.2)
    assert (student.order, student.adversarial_every, student.output_loss) == ("orderly", 1, 0)


def test_precedence_is_common_then_job_then_command_line(tmp_path: Path) -> None:
    file = tmp_path / "s.yaml"
    file.write_text("common: {size: 64, epochs: 9}\nstudent: {learning_rate: 1e-4, epochs: 5}\n")
    made = read_settings("student", str(file), parse_overrides(["size=32", "init="]))
    assert (made.size, made.learning_rate, made.epochs, made.init) == (32, 1e-4, 5, "")
    assert read_settings("unet", str(file), {}).epochs == 9
    distill = read_settings("distill_xpnet", str(file), {"teachers": ["a", "b"], "skip_bad": True})
    assert isinstance(distill, DistillSettings)
    assert distill.teachers == ("a", "b")
    assert distill.skip_bad


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["sise=3"], "key=value: unknown setting 'sise'; known: network, data"),
        (["epochs=many"], "key=value: epochs is 'many', expected a valid integer"),
        (["learning_rate=fast"], "learning_rate is 'fast', expected a valid number"),
        (["teachers=a"], "teachers is 'a', expected a valid tuple"),
        (["epochs"], "'epochs': expected key=value"),
        (["size=50"], "size is 50, expected a multiple of 16"),
        (["epochs=0"], "epochs is 0, expected greater than or equal to 1"),
        (["precision=int3"], "precision is 'int3', expected 'auto', '32-true'"),
        (["order=any"], "order is 'any', expected 'orderly', 'alternate', 'random' or 'mean'"),
        (["learning_rate=-1"], "learning_rate is -1, expected greater than or equal to"),
        (["gradient_norm=0"], "gradient_norm is 0, expected greater than or equal to"),
        (["average=2"], "average is 2, expected less than or equal to 0.99999"),
        (["batch=1"], "batch is 1, expected greater than or equal to 2"),
        (["network=unet"], "network unet: the job distill_xpnet trains student"),
        (["adversarial_every=0"], "adversarial_every is 0, expected greater than or equal to 1"),
    ],
)
def test_invalid_setting_is_rejected(words: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_settings("distill_xpnet", "cpu", parse_overrides(words))


def test_invalid_settings_file_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nosuch: no such settings file; known names:"):
        read_settings("student", "nosuch", {})
    for content, message in (
        ("[1, 2]", "unknown section '1'"),
        ("typo: {}", "unknown section 'typo'; known: common, teacher1"),
        ("common: [", "not a YAML mapping"),
        ("common: 3", "not a YAML mapping"),
    ):
        (tmp_path / "s.yaml").write_text(content)
        with pytest.raises(UserError, match=message):
            read_settings("student", str(tmp_path / "s.yaml"), {})
    assert (CONFIGS / "cpu.yaml").is_file()
