"""`xpnet train table`: all networks of Table 1 and of the ablation, trained within a given time.

The paper's U-Net and teachers, then its student without teachers and with every choice of them. An
interrupted table resumes where it stopped: each training from its checkpoint, each score that is
there is kept.
"""

from __future__ import annotations

import json
import logging
import math
from pathlib import Path
from statistics import mean
from typing import Any

from training.ablation import refuse_overrides, refuse_several_devices
from training.data.readers import read_data_set
from training.evaluation.scored_sets import ScoredSet, read_log, read_results, score_weights
from training.jobs import train
from training.table_plan import Plan, Row, choose_rows, load_or_make_plan, settings_of
from xpnet.card import read_card
from xpnet.errors import UserError
from xpnet.files import check_writable, make_folder, write_text

log = logging.getLogger("xpnet.table")

OPTIONS = {
    "epochs": "--minutes, from which they follow",
    "seed": "--seeds",
    "output": "--output",
    "teachers": "--only, which names the rows that teach",
}
"""Settings that differ between the rows, and the options to use for them."""


def run_table(
    config: str,
    overrides: dict[str, Any],
    sets: list[ScoredSet],
    output: Path,
    minutes: float,
    seeds: int,
    only: list[str],
) -> str:
    """Train and score all rows; return the table as Markdown.

    Args:
        config: Settings file, as in training.settings.read_settings.
        overrides: Settings for all rows.
        sets: Data sets to score on.
        output: Folder of the plan, of the runs, and of `table.json`, which is written after each
            score.
        minutes: Time for everything.
        seeds: Number of seeds of the rows that decide.
        only: Names of rows; empty for all.

    Raises:
        UserError: Wrong options, settings or data; the time is too short; a training fails.
    """
    if not (minutes > 0 and math.isfinite(minutes)):
        raise UserError(f"--minutes {minutes:g}: expected more than 0, and not infinite")
    if seeds < 1:
        raise UserError(f"--seeds {seeds}: expected at least 1")
    refuse_overrides(overrides, OPTIONS)
    rows = choose_rows(only)
    base = settings_of(rows[0], config, overrides, {})
    refuse_several_devices(base, "a table")
    split = base.split
    data_sets = {s.name: read_data_set(s.folder, split) for s in sets}
    frames = sum(len(data_sets[s.name].in_split(s.split)) for s in sets)
    make_folder(output)
    results = output / "table.json"
    check_writable(results)
    plan = load_or_make_plan(
        output / "plan.json", rows, config, overrides, minutes, seeds, frames
    )  # fmt: skip
    log.info("%d epochs of each training, %.0f minutes in all", plan.epochs, plan.minutes)
    found = read_results(results) or {"plan": vars(plan), "rows": {}}
    teachers: dict[str, str] = {}
    for row in rows:
        for seed in plan.seeds[row.name]:
            folder = output / f"{row.folder}.seed-{seed}"
            weights = train(
                settings_of(
                    row, config, overrides, teachers,
                    epochs=plan.epochs, seed=seed, output=str(folder),
                )
            )  # fmt: skip
            teachers.setdefault(row.name, str(weights))
            runs = found["rows"].setdefault(row.name, {})
            known = runs.get(str(seed), {}).get("scores", {})
            for scores in score_weights(weights, sets, data_sets, known):
                runs[str(seed)] = {**_describe(weights), "scores": scores}
                write_text(results, json.dumps(found, indent=2) + "\n")
    return as_markdown(found, rows, plan)


def as_markdown(found: dict[str, Any], rows: list[Row], plan: Plan) -> str:
    """Return the table: the Dice of each row and set, the mean of the seeds.

    Args:
        found: Content of `table.json`.
        rows: The rows, in order.
        plan: The plan.
    """
    runs = {row.name: list(found["rows"].get(row.name, {}).values()) for row in rows}
    sets = list(
        dict.fromkeys(s for several in runs.values() for run in several for s in run["scores"])
    )
    lines = [
        f"| network | parameters | {' | '.join(f'Dice {name}' for name in sets)} | minutes |",
        "|---" * (len(sets) + 3) + "|",
    ]
    for name, several in runs.items():
        if not several:
            continue
        cells = [name, f"{several[0]['parameters']:,}"]
        cells += [_cell([run["scores"][s] for run in several if s in run["scores"]]) for s in sets]
        cells.append(f"{mean(run['minutes'] for run in several):.1f}")
        lines.append(f"| {' | '.join(cells)} |")
    lines += [
        "",
        f"{plan.epochs} epochs each. Several seeds: their mean, lowest and highest. One seed: the "
        f"95 % interval over the frames. {plan.measured['cores']} cores of "
        f"{plan.measured['machine']}; {plan.measured['date']}.",
    ]
    return "\n".join(lines) + "\n"


def _cell(scores: list[dict[str, Any]]) -> str:
    if not scores:
        return ""
    if len(scores) == 1:
        low, high = scores[0]["interval"]
        return f"{scores[0]['dice']:.3f} ({low:.3f}-{high:.3f})"
    dice = [score["dice"] for score in scores]
    return f"{mean(dice):.3f}, {min(dice):.3f} to {max(dice):.3f} in {len(dice)} seeds"


def _describe(weights: Path) -> dict[str, Any]:
    """Return a run's entry without scores."""
    card = read_card(weights.with_suffix(".json"))
    return {
        "parameters": card.parameters,
        "minutes": round(sum(line["seconds"] for line in read_log(weights)) / 60, 2),
        "best_epoch": card.training["epoch"],
    }
