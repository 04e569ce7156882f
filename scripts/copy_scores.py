"""Copies the scores of the included weights to the cards of the models that serve them.

`xpnet evaluate --card` records scores in the card of the weights. The same weights are served with
two further cards, and the ONNX file contains one too; this brings all of them up to date.

Usage, in the repository's root, after scripts/setup.sh --train: .venv/bin/python -m
scripts.copy_scores
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import onnx

from xpnet.card import METADATA_KEY, Card, parse_card, read_card
from xpnet.errors import UserError
from xpnet.files import write_bytes
from xpnet.paths import MODEL_REPOSITORY, ROOT, card_path, onnx_path

WEIGHTS_DIR = ROOT / "training" / "weights"


def copy_scores(weights_dir: Path, repository: Path) -> list[Path]:
    """Copy the scores of each card in a folder to the served models of the same name and weights.

    Args:
        weights_dir: Folder with the cards of weights.
        repository: The Triton model repository.

    Returns:
        The files that were written; each keeps all else that it contained.

    Raises:
        UserError: A card cannot be read, or a file cannot be written.
    """
    written = []
    for path in sorted(weights_dir.glob("*.json")):
        card = read_card(path)
        for model_dir in (repository / card.name, repository / f"{card.name}_onnx"):
            if card_path(model_dir).is_file():
                written += _copy_to_model(card, model_dir)
    return written


def _copy_to_model(card: Card, model_dir: Path) -> list[Path]:
    written = []
    served = read_card(card_path(model_dir))
    if not card.same_weights(served):
        raise UserError(f"{card_path(model_dir)}: is the card of other weights than {card.name}")
    if served.scores != card.scores:
        replace(served, scores=card.scores).write(card_path(model_dir))
        written.append(card_path(model_dir))
    graph = onnx_path(model_dir)
    if graph.is_file() and _put_scores(card, graph):
        written.append(graph)
    return written


def _put_scores(card: Card, graph: Path) -> bool:
    """Put the scores into the card that an ONNX file contains; return whether they differed."""
    model = onnx.load(str(graph))
    for entry in model.metadata_props:
        if entry.key == METADATA_KEY:
            inside = parse_card(entry.value, str(graph))
            if inside.scores == card.scores:
                return False
            entry.value = replace(inside, scores=card.scores).to_json()
            write_bytes(graph, model.SerializeToString())
            return True
    raise UserError(f"{graph}: contains no card")


if __name__ == "__main__":
    try:
        for changed in copy_scores(WEIGHTS_DIR, MODEL_REPOSITORY):
            print(changed.relative_to(ROOT))
    except UserError as error:
        sys.exit(f"copy_scores: {error}")
