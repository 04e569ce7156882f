"""`xpnet train ablation`: what each way of teaching gives, under one equal budget.

The paper's student is trained alone, by each teacher, by both in each order, and with the third
teacher: the same frames, steps, schedule and seed each time. Every run resumes, and what is done
is not done again, so the whole may take several sittings.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training.data.readers import read_source
from training.evaluation.scored_sets import ScoredSet, score
from training.jobs import train
from training.models.torch_inference import TorchInference
from training.settings import read_job
from xpnet.errors import UserError
from xpnet.files import check_writable, write_text

log = logging.getLogger("xpnet.ablation")


@dataclass(frozen=True)
class Variant:
    """One way of teaching: which teachers, by number from 1, and the settings that differ."""

    name: str
    teachers: tuple[int, ...]
    changes: dict[str, Any]


BY_MAP = {"adversarial": 0.0, "output_loss": 1.0}
VARIANTS = (
    Variant("alone", (), {}),
    Variant("alone, scope augmentation", (), {"augmentation": "scope"}),
    Variant("teacher 1", (1,), {}),
    Variant("teacher 2", (2,), {}),
    Variant("both, orderly", (1, 2), {"order": "orderly"}),
    Variant("both, alternate", (1, 2), {"order": "alternate"}),
    Variant("both, random", (1, 2), {"order": "random"}),
    Variant("teacher 3, by its map alone", (3,), BY_MAP),
    Variant("teacher 3, by its map and adversarial", (3,), {"output_loss": 1.0}),
    Variant("all three, alternate, by map and adversarial", (1, 2, 3),
            {"order": "alternate", "output_loss": 1.0}),
)  # fmt: skip


def ablation(
    config: str,
    overrides: dict[str, Any],
    teachers: list[str],
    sets: list[ScoredSet],
    output: Path,
    only: list[str],
) -> str:
    """Trains and scores every variant whose teachers are given; the table as Markdown.

    `teachers` are the weights of teacher 1, 2 and 3, in this order. `output` is a folder: a run
    of each variant, and `ablation.json` with all scores, written after each. `only` names the
    variants to do, all of them when empty; so several processes may share the work and a folder.

    Raises:
        UserError: as training.jobs and training.evaluation.scoring, an unknown variant, or the folder
            cannot be written.
    """
    unknown = [name for name in only if name not in {v.name for v in VARIANTS}]
    if unknown:
        names = "; ".join(v.name for v in VARIANTS)
        raise UserError(f"--only '{unknown[0]}': no such variant; there are: {names}")
    base = read_job("student", config, overrides)
    if base.devices != 1 or base.nodes != 1:
        raise UserError("an ablation runs in one process: devices and nodes are 1")
    sources = {s.name: read_source(s.folder, base.split) for s in sets}
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{output}: cannot be made: {error.strerror}") from error
    results = output / "ablation.json"
    check_writable(results)
    for variant in VARIANTS:
        if only and variant.name not in only:
            continue
        if any(number > len(teachers) for number in variant.teachers):
            log.info("%s: left out, its teacher was not given", variant.name)
            continue
        weights = train(_settings(variant, config, overrides, teachers, output))
        log_lines = (weights.parent / "log.jsonl").read_text(encoding="utf-8").splitlines()
        row = {
            "minutes": round(sum(json.loads(x)["seconds"] for x in log_lines) / 60, 1),
            "epochs": len(log_lines),
            "scores": _read_results(results).get(variant.name, {}).get("scores", {}),
        }
        for wanted in sets:
            known = row["scores"].get(wanted.name, {})
            if known.get("of") != str(wanted.folder.resolve()):
                found = _score(weights, sources[wanted.name], wanted.split)
                row["scores"][wanted.name] = {"of": str(wanted.folder.resolve()), **found}
                # Read anew: another process may have added its rows meanwhile.
                rows = {**_read_results(results), variant.name: row}
                write_text(results, json.dumps(rows, indent=2) + "\n")
    return as_markdown(_read_results(results))


def as_markdown(rows: dict[str, Any]) -> str:
    """Dice of each variant on each set, with 95 % intervals, and the minutes it took."""
    sets = list(dict.fromkeys(name for row in rows.values() for name in row["scores"]))
    lines = [
        f"| the student, taught by | {' | '.join(f'Dice {name}' for name in sets)} | minutes |",
        f"|{'---|' * (len(sets) + 2)}",
    ]
    names = [v.name for v in VARIANTS if v.name in rows]
    for name in names:
        row = rows[name]
        cells = []
        for wanted in sets:
            found = row["scores"].get(wanted)
            low, high = found["interval"] if found else (0.0, 0.0)
            cells.append(f"{found['dice']:.3f} ({low:.3f}-{high:.3f})" if found else "")
        lines.append(f"| {name} | {' | '.join(cells)} | {row['minutes']:.0f} |")
    return "\n".join(lines) + "\n"


def _read_results(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except ValueError as error:
        raise UserError(f"{path}: not the results of an ablation: {error}") from error


def _settings(
    variant: Variant, config: str, overrides: dict[str, Any], teachers: list[str], output: Path
) -> Any:
    job = "distill_xpnet" if variant.teachers else "student"
    chosen = {"teachers": [teachers[n - 1] for n in variant.teachers]} if variant.teachers else {}
    folder = output / variant.name.replace(",", "").replace(" ", "-")
    return read_job(job, config, {**overrides, **chosen, **variant.changes, "output": str(folder)})


def _score(weights: Path, source: Any, split: str | None) -> dict[str, Any]:
    scores = score(TorchInference(weights), source, split)
    return {
        "frames": scores["frames"],
        "dice": scores["dice"],
        "interval": scores["intervals"]["dice"],
        "iou": scores["iou"],
        "polyps": scores["polyps"]["all"],
    }
