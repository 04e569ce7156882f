"""Data sets named by `--score NAME=DIR[:SPLIT]`, and scoring a model on them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training.data.readers import DataSet
from training.evaluation.scoring import evaluate
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


def score(model: Inference, source: DataSet, split: str | None) -> dict[str, Any]:
    """Score a model without curves, and close it. Raises UserError as `scoring.evaluate` does."""
    try:
        return evaluate(model, source, split, sweep=False)[0]
    finally:
        model.close()
