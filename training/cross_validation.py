"""`xpnet train folds`: false positives on all frames of a data set, each held out once.

A data set has few frames without a polyp, and its split `val` has fewer still. So a network is
trained once for each part of the clips, on the other parts, and scored on the part that it has not
seen, after its last epoch: the held-out frames choose nothing. An interrupted run resumes; finished
folds are not trained again.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from scipy.stats import binomtest

from training.ablation import refuse_several_devices
from training.data.dataset_check import usable_samples
from training.data.readers import FOLDS, NEGATIVE_LAYOUT, DataSet, read_data_set
from training.evaluation.scored_sets import read_log, read_results
from training.evaluation.scoring import PEAKS, evaluate
from training.jobs import train
from training.models.torch_inference import TorchInference
from training.settings import TrainSettings, read_settings
from training.trainer import NOT_IN_CARD
from xpnet.checksums import sha256
from xpnet.errors import UserError
from xpnet.files import check_writable, make_folder, write_text
from xpnet.host.cpu import measured_here

OWN = ("split", "validate_every", "output", "init")
"""Settings that this command sets itself. Weights to start from may have seen every frame."""


def run_folds(job: str, config: str, overrides: dict[str, Any], output: Path) -> dict[str, Any]:
    """Train a network for each fold and score it on the fold's frames.

    Args:
        job: A job without teachers, which may have seen the frames that are held out.
        config: Settings file, as in training.settings.read_settings.
        overrides: Settings of all trainings.
        output: Folder of the trainings and of `folds.json`, which is written after each fold.

    Returns:
        Content of `folds.json`: the settings, and for each fold its frames, its Dice without a
        peak, the minutes of its training, the machine, and `by_peak`, the counts with each peak.

    Raises:
        UserError: The settings or the data set cannot be used, a fold has no frame, a training
            fails, or the folder cannot be written.
    """
    for name in OWN:
        if name in overrides:
            raise UserError(f"{name}={overrides[name]}: `xpnet train folds` sets {name} itself")
    base = read_settings(job, config, overrides)
    refuse_several_devices(base, "a cross-validation")
    if base.more_data:
        raise UserError(
            f"more_data={base.more_data}: `xpnet train folds` uses one data set: a second one may "
            "show what is held out"
        )
    parts = _usable_parts(base)
    make_folder(output)
    results = output / "folds.json"
    check_writable(results)
    settings = base.model_dump(exclude={*NOT_IN_CARD, *OWN})
    for fold, part in parts.items():
        changes = {
            "split": fold,
            "validate_every": base.epochs,
            "output": str(output / fold),
            "init": "",
        }
        weights = train(base.model_copy(update=changes))
        found = read_results(results)
        folds = found["folds"] if found.get("settings") == settings else {}
        if folds.get(fold, {}).get("sha256") == sha256(weights):
            continue
        folds[fold] = {
            "sha256": sha256(weights),
            "minutes": round(sum(line["seconds"] for line in read_log(weights)) / 60, 1),
            **_score(weights, part),
            **measured_here(),
        }
        write_text(results, json.dumps({"settings": settings, "folds": folds}, indent=2) + "\n")
    return read_results(results)


def as_markdown(found: dict[str, Any]) -> str:
    """Return a table of false positives and polyps found by peak, over all folds.

    Args:
        found: Content of `folds.json`.
    """
    folds = found["folds"].values()
    total = {
        name: sum(fold[name] for fold in folds) for name in ("frames", "empty_frames", "polyps")
    }
    lines = [
        "| peak | frames without a polyp that are marked | share, 95 % | polyps found "
        "| false positives per frame |",
        "|---|---|---|---|---|",
    ]
    for number, peak in enumerate(PEAKS):
        rows = [fold["by_peak"][number] for fold in folds]
        marked, hits, false = (
            sum(row[name] for row in rows) for name in ("empty_marked", "found", "false_positives")
        )
        share = ""
        if total["empty_frames"]:
            test = binomtest(marked, total["empty_frames"])
            low, high = test.proportion_ci(method="wilson")
            share = f"{test.statistic:.1%} ({low:.1%} to {high:.1%})"
        lines.append(
            f"| {peak or 'none'} | {marked} of {total['empty_frames']} | {share} "
            f"| {hits} of {total['polyps']} | {false / total['frames']:.3f} |"
        )
    dice = sum(fold["dice"] * fold["frames"] for fold in folds) / total["frames"]
    settings = found["settings"]
    machines = dict.fromkeys(f"{f['cores']} cores of {f['machine']}, {f['date']}" for f in folds)
    lines += [
        "",
        f"{len(found['folds'])} trainings of `{settings['network']}`, {settings['epochs']} epochs "
        f"at {settings['size']} pixels each, {sum(fold['minutes'] for fold in folds):.0f} minutes "
        f"in all; {total['frames']:,} frames, Dice {dice:.3f} without a peak. "
        f"{'; '.join(machines)}.",
    ]
    return "\n".join(lines) + "\n"


def _usable_parts(settings: TrainSettings) -> dict[str, DataSet]:
    """Return the data set of each fold with the pairs that a training uses, before any training.

    Raises:
        UserError: A pair is bad and `skip_bad` is not set, or a fold has no frame.
    """
    parts = {fold: read_data_set(Path(settings.data), fold) for fold in FOLDS}
    first = parts[FOLDS[0]]
    if first.layout == NEGATIVE_LAYOUT:
        raise UserError(f"{settings.data}: sequences without polyps, expected frames with masks")
    if not all(any(s.split == "val" for s in part.samples) for part in parts.values()):
        clips = {(sample.centre, sample.group) for sample in first.samples}
        raise UserError(
            f"{settings.data}: clips: {len(clips)}, expected at least {len(FOLDS)}, one for each "
            "fold"
        )
    usable = usable_samples(first, first.samples, settings.skip_bad, settings.size)
    kept = {found.sample.pair.image for found in usable}
    return {
        fold: replace(part, samples=[s for s in part.samples if s.pair.image in kept])
        for fold, part in parts.items()
    }


def _score(weights: Path, data_set: DataSet) -> dict[str, Any]:
    """Score weights on the frames of `val`, and count with each peak."""
    model = TorchInference(weights)
    try:
        scores, _ = evaluate(model, data_set, "val", sweep=False, peaks=True)
    finally:
        model.close()
    return {
        "frames": scores["frames"],
        "empty_frames": scores["false_alarm_frames"],
        "polyps": scores["polyps"]["all"]["polyps"],
        "dice": scores["dice"],
        "by_peak": scores["by_peak"],
    }
