"""A data set to score on, as `--score NAME=DIR[:SPLIT]` names it, and a model scored on it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training.data.readers import Source
from training.evaluation.scoring import evaluate
from xpnet.errors import UserError
from xpnet.inference import Inference


@dataclass(frozen=True)
class ScoredSet:
    """A data set to score on, and the split of it; None for all frames."""

    name: str
    folder: Path
    split: str | None


def parse_set(word: str) -> ScoredSet:
    """`name=DIR` or `name=DIR:split`. Raises UserError for anything else."""
    name, equals, rest = word.partition("=")
    folder, _, split = rest.partition(":")
    if not (name and equals and folder):
        raise UserError(f"--score {word}: expected NAME=DIR or NAME=DIR:SPLIT")
    return ScoredSet(name, Path(folder), split or None)


def score(model: Inference, source: Source, split: str | None) -> dict[str, Any]:
    """The scores of training.evaluation.scoring without its curves, and the model closed.

    Raises UserError as that one.
    """
    try:
        return evaluate(model, source, split, sweep=False)[0]
    finally:
        model.close()
