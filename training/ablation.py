"""`xpnet train ablation`: compare the choices of teachers with equal budgets.

The paper's student is trained without teachers, with each teacher, with teachers 1 and 2 in each
order, and with teacher 3: always with the same frames, steps, schedule and seed. An interrupted
ablation resumes; finished variants are not trained again.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training.data.readers import DataSet, read_data_set
from training.evaluation.scored_sets import ScoredSet, read_log, read_results, score_weights
from training.jobs import train
from training.settings import TrainSettings, read_settings
from xpnet.errors import UserError
from xpnet.files import check_writable, make_folder, write_text

log = logging.getLogger("xpnet.ablation")


@dataclass(frozen=True)
class Variant:
    """One row of the ablation.

    Attributes:
        name: Name of the row.
        teachers: Numbers of its teachers, from 1.
        changes: Settings that differ from those of the other variants.
    """

    name: str
    teachers: tuple[int, ...]
    changes: dict[str, Any]


OUTPUT_LOSS_ONLY = {"adversarial": 0.0, "output_loss": 1.0}
VARIANTS = (
    Variant("alone", (), {}),
    Variant("alone, scope augmentation", (), {"augmentation": "scope"}),
    Variant("teacher 1", (1,), {}),
    Variant("teacher 2", (2,), {}),
    Variant("both, orderly", (1, 2), {"order": "orderly"}),
    Variant("both, alternate", (1, 2), {"order": "alternate"}),
    Variant("both, random", (1, 2), {"order": "random"}),
    Variant("teacher 3, by its map alone", (3,), OUTPUT_LOSS_ONLY),
    Variant("teacher 3, by its map and adversarial", (3,), {"output_loss": 1.0}),
    Variant("all three, alternate, by map and adversarial", (1, 2, 3),
            {"order": "alternate", "output_loss": 1.0}),
)  # fmt: skip
OPTIONS = {"output": "--output", "teachers": "--teacher"}
"""Settings that differ between the variants, and the options to use for them."""


def run_ablation(
    config: str,
    overrides: dict[str, Any],
    teachers: list[str],
    sets: list[ScoredSet],
    output: Path,
    only: list[str],
) -> str:
    """Train and score all variants whose teachers are given; return the table as Markdown.

    Several processes may share a folder if each has its own `only`.

    Args:
        config: Settings file, as in training.settings.read_settings.
        overrides: Settings for all variants.
        teachers: Safetensors files of teachers 1, 2 and 3, in this order; may be shorter.
        sets: Data sets to score on.
        output: Folder of the runs and of `ablation.json`, which is written after each score.
        only: Names of the variants to train; empty for all.

    Raises:
        UserError: A variant is unknown, the settings or a data set cannot be used, a training
            fails, or the folder cannot be written.
    """
    unknown = [name for name in only if name not in {v.name for v in VARIANTS}]
    if unknown:
        names = "; ".join(v.name for v in VARIANTS)
        raise UserError(f"--only '{unknown[0]}': no such variant; known: {names}")
    refuse_overrides(overrides, OPTIONS)
    base = read_settings("student", config, overrides)
    refuse_several_devices(base, "an ablation")
    data_sets = {s.name: read_data_set(s.folder, base.split) for s in sets}
    make_folder(output)
    results = output / "ablation.json"
    check_writable(results)
    for variant in VARIANTS:
        if only and variant.name not in only:
            continue
        if any(number > len(teachers) for number in variant.teachers):
            log.info("%s: skipped; its teacher was not given", variant.name)
            continue
        weights = train(_variant_settings(variant, config, overrides, teachers, output))
        _score_variant(variant, weights, sets, data_sets, results)
    return as_markdown(read_results(results))


def refuse_overrides(overrides: dict[str, Any], options: dict[str, str]) -> None:
    """Refuse settings that would be replaced for each row.

    Args:
        overrides: Settings for all rows.
        options: What to use in the place of a setting, by its name.

    Raises:
        UserError: One of them is among the overrides.
    """
    for name in options.keys() & overrides.keys():
        raise UserError(
            f"{name}={overrides[name]}: not for all rows alike, expected {options[name]}"
        )


def refuse_several_devices(settings: TrainSettings, what: str) -> None:
    """Refuse settings with which a training starts further processes, which would score, too.

    Args:
        settings: The settings.
        what: For the message.

    Raises:
        UserError: They ask for more than one device or machine.
    """
    if settings.devices != 1 or settings.nodes != 1:
        raise UserError(
            f"devices {settings.devices}, nodes {settings.nodes}: expected 1 and 1 for {what}"
        )


def as_markdown(rows: dict[str, Any]) -> str:
    """Format the Dice of each variant and set, with 95 % intervals, and the training time.

    Args:
        rows: Content of `ablation.json`.
    """
    sets = list(dict.fromkeys(name for row in rows.values() for name in row["scores"]))
    lines = [
        f"| training of the student | {' | '.join(f'Dice {name}' for name in sets)} | minutes |",
        f"|{'---|' * (len(sets) + 2)}",
    ]
    names = [v.name for v in VARIANTS if v.name in rows]
    for name in names:
        row = rows[name]
        cells = []
        for set_name in sets:
            scores = row["scores"].get(set_name)
            low, high = scores["interval"] if scores else (0.0, 0.0)
            cells.append(f"{scores['dice']:.3f} ({low:.3f}-{high:.3f})" if scores else "")
        lines.append(f"| {name} | {' | '.join(cells)} | {row['minutes']:.0f} |")
    return "\n".join(lines) + "\n"


def _variant_settings(
    variant: Variant, config: str, overrides: dict[str, Any], teachers: list[str], output: Path
) -> TrainSettings:
    job = "distill_xpnet" if variant.teachers else "student"
    chosen = {"teachers": [teachers[n - 1] for n in variant.teachers]} if variant.teachers else {}
    folder = output / variant.name.replace(",", "").replace(" ", "-")
    changes = {**overrides, **chosen, **variant.changes, "output": str(folder)}
    return read_settings(job, config, changes)


def _score_variant(
    variant: Variant,
    weights: Path,
    sets: list[ScoredSet],
    data_sets: dict[str, DataSet],
    results: Path,
) -> None:
    """Write a trained variant's row, and score it on the sets without a score of its weights."""
    validations = read_log(weights)
    row = {
        "minutes": round(sum(v["seconds"] for v in validations) / 60, 1),
        "epochs": validations[-1]["epoch"],
    }
    known = read_results(results).get(variant.name, {}).get("scores", {})
    for scores in score_weights(weights, sets, data_sets, known):
        row["scores"] = scores
        # Read the file again: another process may have added rows.
        rows = {**read_results(results), variant.name: row}
        write_text(results, json.dumps(rows, indent=2) + "\n")
