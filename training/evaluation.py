"""`xpnet evaluate`: the metrics of a model on a folder of frames and masks, without torch."""

from __future__ import annotations

import logging
from collections import deque
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any

from tqdm import tqdm

from training.metrics import MetricSums
from training.pairs import Pair, Pairing
from xpnet.card import Card, read_card
from xpnet.errors import UserError
from xpnet.frames import ProbabilityMap, frame_to_tensor, probabilities_to_mask
from xpnet.inference import IN_FLIGHT, Inference, InferenceError

log = logging.getLogger("xpnet.evaluate")


def evaluate(inference: Inference, pairing: Pairing) -> dict[str, Any]:
    """Scores every pair at the size of its mask, as stored; see `MetricSums` for the names.

    Frame and mask need not have the same size. The result also holds the network's `height` and
    `width`, and the stems `without_mask` and `without_image`.

    Raises:
        UserError: a file cannot be read, or inference fails.
    """
    sums = MetricSums()
    card = inference.card
    pending: deque[tuple[Pair, Future[ProbabilityMap]]] = deque()

    def finish() -> None:
        pair, future = pending.popleft()
        try:
            probabilities = future.result()
        except InferenceError as error:
            raise UserError(f"{pair.image}: inference failed: {error}") from error
        true = pair.read_mask()
        height, width = true.shape
        sums.add(probabilities_to_mask(probabilities, height, width, card.threshold), true)

    for pair in tqdm(pairing.pairs, "evaluating", unit=" frames", disable=None):
        tensor = frame_to_tensor(pair.read_frame(), card.input.height, card.input.width)
        pending.append((pair, inference.submit(tensor)))
        if len(pending) == IN_FLIGHT:
            finish()
    while pending:
        finish()
    return {
        **sums.scores(),
        "height": card.input.height,
        "width": card.input.width,
        "threshold": card.threshold,
        "without_mask": pairing.without_mask,
        "without_image": pairing.without_image,
    }


def check_same_weights(ours: Card, path: Path) -> None:
    """Raises UserError unless the card at `path` is of the very weights that are scored."""
    theirs = read_card(path)
    if (ours.network, ours.git_commit, ours.training) != (
        theirs.network,
        theirs.git_commit,
        theirs.training,
    ):
        raise UserError(f"{path}: is the card of other weights than those of the model scored")


def record(scores: dict[str, Any], path: Path, name: str) -> None:
    """Puts the scores, rounded, under `name` into the card at `path`."""
    card = read_card(path)
    kept = {
        key: round(value, 4) if isinstance(value, float) else value
        for key, value in scores.items()
        if not isinstance(value, list)
    }
    replace(card, scores={**card.scores, name: kept}).write(path)
    log.info("%s: scores of %s recorded", path, name)


def as_lines(scores: dict[str, Any]) -> list[str]:
    """The scores for a person, one a line, and the frames without a partner."""
    lines = [f"{'frames':<20}{scores['frames']}"]
    for name in ("dice", "iou", "miou", "dice_total", "precision", "recall", "false_alarm"):
        value = scores[name]
        counted = scores.get(f"{name}_frames")
        text = "no such frame" if value is None else f"{value:.4f}"
        lines.append(f"{name:<20}{text}{f'   of {counted} frames' if counted is not None else ''}")
    for key, what in (
        ("without_mask", "images without a mask"),
        ("without_image", "masks without an image"),
    ):
        if scores[key]:
            shown = ", ".join(scores[key][:10]) + (", ..." if len(scores[key]) > 10 else "")
            lines.append(f"{len(scores[key])} {what}: {shown}")
    return lines
