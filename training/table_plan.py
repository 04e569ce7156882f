"""The plan of `xpnet train table`: all networks of Table 1, with epochs that fit into a given time.

Every training gets the same number of epochs. The time of an epoch is measured before, on this
machine, for each kind of training; so each schedule ends within the time.
"""

from __future__ import annotations

import json
import logging
import math
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from training.ablation import VARIANTS
from training.bench.training_bench import measure
from training.models.weight_files import git_commit, save_weights
from training.models.zoo import MODEL_NAMES, NETWORKS
from training.settings import JOBS, TrainSettings, read_settings
from xpnet.card import new_card
from xpnet.errors import UserError
from xpnet.files import write_text
from xpnet.host.cpu import measured_here

log = logging.getLogger("xpnet.table")

MEASURED_STEPS = 4
"""Steps that are timed of each kind of training."""
RESERVE = 0.12
"""Share of the time that is kept for starts, checkpoints, and a machine that is busier later."""
SCORING_SHARE = 1.5
"""Time to score a frame, in times of its forward pass: reading, metrics, intervals."""


@dataclass(frozen=True)
class Row:
    """One row of the table.

    Attributes:
        name: Its name.
        job: A key of training.settings.JOBS.
        teachers: Names of the rows that teach it.
        changes: Settings that differ from those of the file.
        decides: Whether it is trained with every seed, because the paper's claim rests on it.
    """

    name: str
    job: str
    teachers: tuple[str, ...] = ()
    changes: dict[str, Any] = field(default_factory=dict)
    decides: bool = False

    @property
    def folder(self) -> str:
        """Name of the folder of its runs."""
        return self.name.replace(",", "").replace(":", "").replace(" ", "-")


DECIDING = {
    "alone", "teacher 1", "teacher 2", "both, orderly", "teacher 3, by its map alone"
}  # fmt: skip
"""Students that are trained with every seed."""
ROWS = (
    Row("U-Net", "unet"),
    *(Row(f"teacher {number} itself", f"teacher{number}") for number in (1, 2, 3)),
    *(
        Row(
            f"student: {variant.name}",
            "distill_xpnet" if variant.teachers else "student",
            tuple(f"teacher {number} itself" for number in variant.teachers),
            variant.changes,
            variant.name in DECIDING,
        )
        for variant in VARIANTS
    ),
)


@dataclass(frozen=True)
class Plan:
    """What is trained.

    Attributes:
        epochs: Of each training.
        epoch_s: Measured time of an epoch by row, in seconds.
        scoring_s: Estimated time of all scores, in seconds.
        seeds: Seeds by row.
        options: What the plan was made for; another one needs another folder.
        measured: Machine and date.
    """

    epochs: int
    epoch_s: dict[str, float]
    scoring_s: float
    seeds: dict[str, list[int]]
    options: dict[str, Any]
    measured: dict[str, Any]

    @property
    def minutes(self) -> float:
        """Expected time of everything."""
        epochs_s = sum(self.epoch_s[name] * len(seeds) for name, seeds in self.seeds.items())
        return (self.scoring_s + self.epochs * epochs_s) / 60


def choose_rows(only: list[str]) -> list[Row]:
    """Return rows by name, in the table's order; all for an empty list.

    Raises:
        UserError: A name is unknown, or a row's teacher is not chosen.
    """
    names = [row.name for row in ROWS]
    for name in only:
        if name not in names:
            raise UserError(f"--only '{name}': no such row; known: {'; '.join(names)}")
    rows = [row for row in ROWS if not only or row.name in only]
    chosen = {row.name for row in rows}
    for row in rows:
        for teacher in row.teachers:
            if teacher not in chosen:
                raise UserError(f"--only '{row.name}': needs --only '{teacher}', too")
    return rows


def settings_of(
    row: Row, config: str, overrides: dict[str, Any], teachers: dict[str, str], **more: Any
) -> TrainSettings:
    """Return the settings of a row's training.

    Args:
        row: The row.
        config: Settings file, as in training.settings.read_settings.
        overrides: Settings for all rows.
        teachers: Weights by name of row.
        **more: Further settings of this training.

    Raises:
        UserError: The settings cannot be used.
    """
    chosen = {"teachers": [teachers[name] for name in row.teachers]} if row.teachers else {}
    return read_settings(row.job, config, {**overrides, **chosen, **row.changes, **more})


def load_or_make_plan(
    path: Path,
    rows: list[Row],
    config: str,
    overrides: dict[str, Any],
    minutes: float,
    seeds: int,
    scored_frames: int,
) -> Plan:
    """Return the plan of a folder, or measure and write a new one.

    Args:
        path: The plan's file.
        rows: What to train.
        config: Settings file.
        overrides: Settings for all rows.
        minutes: Time for everything.
        seeds: Number of seeds of the rows that decide.
        scored_frames: Number of frames of all scored sets.

    Raises:
        UserError: The file has a plan for other options, the time is too short for one epoch, or a
            training cannot be started.
    """
    options = {
        "rows": [row.name for row in rows], "config": config, "minutes": minutes, "seeds": seeds,
        "overrides": {k: str(v) for k, v in overrides.items()},
    }  # fmt: skip
    if path.is_file():
        return _read_plan(path, options)
    numbers = {row.name: list(range(1, seeds + 1 if row.decides else 2)) for row in rows}
    epoch_s, scoring_s = {}, 0.0
    with tempfile.TemporaryDirectory(prefix="xpnet-plan-") as folder:
        teachers = {
            row.name: _untrained(row.job, Path(folder))
            for row in ROWS
            if any(row.name in other.teachers for other in rows)
        }
        for row in rows:
            measured = measure(settings_of(row, config, overrides, teachers), MEASURED_STEPS)
            epoch_s[row.name] = measured["epoch_s"]
            per_frame = SCORING_SHARE / measured["validation_frames_per_s"]
            scoring_s += len(numbers[row.name]) * scored_frames * per_frame
            log.info("%s: %.1f s an epoch", row.name, measured["epoch_s"])
    one_epoch_s = sum(epoch_s[row.name] * len(numbers[row.name]) for row in rows)
    epochs = math.floor((minutes * 60 * (1 - RESERVE) - scoring_s) / one_epoch_s)
    if epochs < 1:
        least = math.ceil((scoring_s + one_epoch_s) / (1 - RESERVE) / 60)
        raise UserError(
            f"--minutes {minutes:g}: one epoch of {sum(map(len, numbers.values()))} trainings and "
            f"their scores take {least} minutes on this machine"
        )
    plan = Plan(epochs, epoch_s, round(scoring_s, 1), numbers, options, measured_here())
    write_text(path, json.dumps(vars(plan), indent=2) + "\n")
    return plan


def _read_plan(path: Path, options: dict[str, Any]) -> Plan:
    try:
        plan = Plan(**json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise UserError(f"{path}: not a plan of `xpnet train table`: {error}") from error
    changed = [name for name in options if plan.options.get(name) != options[name]]
    if changed:
        raise UserError(
            f"{path}: made for other options ({', '.join(changed)}); choose another output folder"
        )
    return plan


def _untrained(job: str, folder: Path) -> str:
    """Write fresh weights of a teacher, which take the same time as trained ones."""
    network_name, _ = JOBS[job]
    network, path = NETWORKS[network_name](), folder / f"{job}.safetensors"
    save_weights(network, path, torch.float32)
    new_card(
        MODEL_NAMES[network_name], network_name, sum(p.numel() for p in network.parameters()), 256,
        licence="none", data=(), git_commit=git_commit(),
    ).write(path.with_suffix(".json"))  # fmt: skip
    return str(path)
