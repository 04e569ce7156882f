"""Data sets named by `--score NAME=DIR[:SPLIT]`, and scoring a model on them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training.data.readers import DataSet
from training.evaluation.scoring import evaluate
from training.log_file import read_log_file
from training.models.torch_inference import TorchInference
from xpnet.checksums import sha256
from xpnet.errors import UserError
from xpnet.inference import Inference


@dataclass(frozen=True)
class ScoredSet:
    """A data set to score on, and its split, or None for all frames."""

    name: str
    folder: Path
    split: str | None


def parse_set(word: str) -> ScoredSet:
    """Parse `NAME=DIR` or `NAME=DIR:SPLIT`. Raises UserError for anything else."""
    name, equals, rest = word.partition("=")
    folder, _, split = rest.partition(":")
    if not (name and equals and folder):
        raise UserError(f"--score {word}: expected NAME=DIR or NAME=DIR:SPLIT")
    return ScoredSet(name, Path(folder), split or None)


def parse_sets(words: list[str]) -> list[ScoredSet]:
    """Parse several `--score`. Raises UserError as `parse_set`, and for two sets of one name."""
    sets = [parse_set(word) for word in words]
    for number, one in enumerate(sets):
        if one.name in {earlier.name for earlier in sets[:number]}:
            raise UserError(
                f"--score {words[number]}: a second set of the name '{one.name}', expected a name "
                "of its own for each"
            )
    return sets


def score(model: Inference, source: DataSet, split: str | None) -> dict[str, Any]:
    """Score a model without curves, and close it. Raises UserError as `scoring.evaluate` does."""
    try:
        return evaluate(model, source, split, sweep=False)[0]
    finally:
        model.close()


def score_weights(
    weights: Path,
    sets: list[ScoredSet],
    data_sets: dict[str, DataSet],
    known: dict[str, Any],
) -> Iterator[dict[str, Any]]:
    """Score weights on the sets that have no score of these weights yet.

    Args:
        weights: A safetensors file with its card.
        sets: The sets.
        data_sets: Their content by name.
        known: Scores by name of the set, as this yields them.

    Yields:
        The known scores without those of other weights, then after each set all scores by name:
        `of` (the folder), `split` (null for all frames), `sha256` of the weights, `frames`, `dice`,
        its 95 % `interval`, `iou` and `polyps`.

    Raises:
        UserError: A set or the weights cannot be read.
    """
    digest = sha256(weights)
    scores = {n: row for n, row in known.items() if row.get("sha256", digest) == digest}
    yield scores
    for scored_set in sets:
        key = {
            "of": str(scored_set.folder.resolve()),
            "split": scored_set.split,
            "sha256": digest,
        }
        before = scores.get(scored_set.name, {})
        if {name: before.get(name, "") for name in key} == key:
            continue
        found = score(TorchInference(weights), data_sets[scored_set.name], scored_set.split)
        scores[scored_set.name] = {
            **key,
            "frames": found["frames"],
            "dice": found["dice"],
            "interval": found["intervals"]["dice"],
            "iou": found["iou"],
            "polyps": found["polyps"]["all"],
        }
        yield scores


def read_results(path: Path) -> dict[str, Any]:
    """Return the results of an ablation or a table; empty if there are none yet.

    Args:
        path: The JSON file.

    Raises:
        UserError: It is not JSON.
    """
    if not path.is_file():
        return {}
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except ValueError as error:
        raise UserError(f"{path}: not the results of a training: {error}") from error


def read_log(weights: Path) -> list[dict[str, Any]]:
    """Return the lines of `log.jsonl` beside the weights of a finished training.

    Args:
        weights: The weights.
    """
    return read_log_file(weights.parent / "log.jsonl")
