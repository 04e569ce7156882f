"""`xpnet evaluate`: scores a model on frames with masks; without torch."""

from __future__ import annotations

import logging
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from training.data.readers import DataSet, Sample
from training.evaluation import metrics
from training.evaluation.as_video import as_video
from training.evaluation.lesions import Components, Truth, count
from training.evaluation.metrics import Counts
from xpnet.card import THRESHOLD, Card, read_card
from xpnet.errors import UserError
from xpnet.frames import Mask, ProbabilityMap, frame_to_tensor, probabilities_to_mask
from xpnet.inference import IN_FLIGHT, Inference, InferenceError

log = logging.getLogger("xpnet.evaluate")

THRESHOLDS = tuple(round(0.05 * i, 2) for i in range(1, 20))
"""Thresholds of the curves: 0.05 to 0.95."""
PEAKS = (0.0, *(t for t in THRESHOLDS if t >= THRESHOLD))
"""Peaks to choose from: none, and 0.5 to 0.95."""
MAX_LOST_SHARE = 0.02
"""Share of the polyps found without a peak that the chosen peak may lose."""


@dataclass
class ScoredFrames:
    """Counts and components of every scored frame."""

    samples: list[Sample] = field(default_factory=list)
    counts: list[Counts] = field(default_factory=list)
    lesions: list[Components] = field(default_factory=list)
    sweep: list[list[tuple[Counts, Components]]] = field(
        default_factory=list
    )  # empty without curves
    peaks: list[list[Components]] = field(default_factory=list)  # empty unless one is chosen

    def add(
        self,
        sample: Sample,
        true: Mask,
        cut: Callable[[float], Mask],
        threshold: float,
        sweep: bool = True,
    ) -> None:
        """Add one frame.

        Args:
            sample: The frame's entry in the data set.
            true: Its true mask.
            cut: Returns the predicted mask at a threshold.
            threshold: Threshold of the scores.
            sweep: Whether to add all THRESHOLDS for the curves.
        """
        truth = Truth(true)
        predicted = cut(threshold)
        self.samples.append(sample)
        self.counts.append(metrics.counts(predicted, true))
        self.lesions.append(truth.compare(predicted))
        if not sweep:
            return
        masks = [cut(t) for t in THRESHOLDS]
        self.sweep.append([(metrics.counts(m, true), truth.compare(m)) for m in masks])

    def add_peaks(self, true: Mask, cut: Callable[[float], Mask]) -> None:
        """Add the components of one frame with each of PEAKS.

        Args:
            true: Its true mask.
            cut: Returns the predicted mask with a peak.
        """
        truth = Truth(true)
        self.peaks.append([truth.compare(cut(peak)) for peak in PEAKS])


def evaluate(
    inference: Inference,
    source: DataSet,
    split: str | None,
    sweep: bool = True,
    video: bool = False,
    peaks: bool = False,
) -> tuple[dict[str, Any], ScoredFrames]:
    """Score the frames of a split at the size of their masks.

    Frame and mask may differ in size.

    Args:
        inference: The model.
        source: The data set.
        split: Its split, or None for all frames.
        sweep: Whether to compute curves, which take as long as a small network.
        video: Whether frames are preprocessed as those of a video.
        peaks: Whether to count polyps and false positives with each of PEAKS.

    Returns:
        The scores, see `summary`, and the counts of each frame.

    Raises:
        UserError: A file cannot be read, inference fails, or the split is empty.
    """
    samples = source.in_split(split)
    scored = ScoredFrames()
    card = inference.card
    for sample, probabilities in _maps(inference, samples, video):
        true = sample.pair.read_mask()
        mask = partial(probabilities_to_mask, probabilities, *true.shape)
        scored.add(sample, true, partial(mask, peak=card.peak), card.threshold, sweep)
        if peaks:
            scored.add_peaks(true, partial(mask, card.threshold))
    return {
        **summary(scored),
        "height": card.input.height,
        "width": card.input.width,
        "threshold": card.threshold,
        "peak": card.peak,
        "without_mask": source.without_mask,
        "without_image": source.without_image,
    }, scored


def summary(scored: ScoredFrames) -> dict[str, Any]:
    """Return the metrics by name (see training.evaluation.metrics) and further results.

    These are `intervals` (95 %), `polyps` (see training.evaluation.lesions), `by_centre` (Dice and
    polyps of each centre, if the data set names them) and `curves` (lists over the thresholds, if
    computed), `by_peak` (see the function of this name, if computed).

    Args:
        scored: Counts and components of every frame.
    """
    by_centre = defaultdict(list)
    for i, sample in enumerate(scored.samples):
        if sample.centre:
            by_centre[sample.centre].append(i)
    return {
        **metrics.scores(scored.counts),
        "intervals": metrics.intervals(scored.counts),
        "polyps": count(scored.lesions),
        "by_centre": {
            centre: {
                "frames": len(indices),
                "dice": metrics.scores([scored.counts[i] for i in indices])["dice"],
                **count([scored.lesions[i] for i in indices])["all"],
            }
            for centre, indices in sorted(by_centre.items())
        },
        **({"curves": curves(scored)} if scored.sweep else {}),
        **({"by_peak": by_peak(scored)} if scored.peaks else {}),
    }


def curves(scored: ScoredFrames) -> dict[str, list[float | int | None]]:
    """Return precision, recall and Dice by threshold, and the free-response curve.

    The latter is `sensitivity` over `false_areas` (false positives per frame).

    Args:
        scored: Counts and components of every frame.
    """
    table: dict[str, list[float | int | None]] = defaultdict(list)
    for i, threshold in enumerate(THRESHOLDS):
        found = metrics.scores([frame[i][0] for frame in scored.sweep])
        lesions = count([frame[i][1] for frame in scored.sweep])["all"]
        row = {"threshold": threshold, **{k: found[k] for k in ("precision", "recall", "dice")}}
        row |= {k: lesions[k] for k in ("sensitivity", "false_areas")}
        for name, value in row.items():
            table[name].append(value)
    return dict(table)


def by_peak(scored: ScoredFrames) -> list[dict[str, float | int]]:
    """Count polyps found, false positives and wrongly marked frames with each of PEAKS.

    Args:
        scored: The components of every frame with each of PEAKS.

    Returns:
        `peak`, `found`, `false_positives` (areas), and `empty_marked`: the frames without a polyp
        that have a mark.
    """
    empty = [number for number, (_, _, true, _) in enumerate(scored.counts) if not true]
    return [
        {
            "peak": peak,
            "found": sum(hit for frame in scored.peaks for _, hit in frame[i].polyps),
            "false_positives": sum(len(frame[i].false_positives) for frame in scored.peaks),
            "empty_marked": sum(bool(scored.peaks[n][i].false_positives) for n in empty),
        }
        for i, peak in enumerate(PEAKS)
    ]


def best_threshold(scored: ScoredFrames) -> float:
    """Return the threshold with the highest mean Dice; for a validation set only.

    A hundred frames cannot distinguish neighbouring thresholds. So it differs from THRESHOLD only
    if the 95 % interval of the gain per frame is above zero.

    Args:
        scored: Counts and components of every frame.
    """
    dice = np.array(
        [
            [metrics.scores([frame[i][0]])["dice"] for i in range(len(THRESHOLDS))]
            for frame in scored.sweep
        ],
        dtype=np.float64,
    )
    best = int(dice.mean(0).argmax())
    gain = dice[:, best] - dice[:, THRESHOLDS.index(THRESHOLD)]
    low, _ = metrics.interval_of_mean(gain)
    return THRESHOLDS[best] if low > 0 else THRESHOLD


def best_peak(counts: list[dict[str, float | int]]) -> float:
    """Return the peak with the fewest false positives that loses few polyps; for validation only.

    It may lose MAX_LOST_SHARE of the polyps that are found without a peak. Of equal peaks it is the
    lowest, of which 0, no peak, is one: a higher one only risks more on other frames.

    Args:
        counts: The result of `by_peak`.
    """
    least = (1 - MAX_LOST_SHARE) * counts[0]["found"]
    allowed = [row for row in counts if row["found"] >= least]
    return min(allowed, key=lambda row: row["false_positives"])["peak"]


def check_same_weights(ours: Card, path: Path) -> None:
    """Check that a card describes the weights that were scored. Raises UserError."""
    if not ours.same_weights(read_card(path)):
        raise UserError(f"{path}: is the card of other weights than those of the model scored")


def record_scores(scores: dict[str, Any], path: Path, name: str) -> None:
    """Record rounded scores, without curves, under a name in a card.

    Args:
        scores: The scores.
        path: The card.
        name: Name of the data set.
    """
    card = read_card(path)
    hidden = ("curves", "by_peak", "without_mask", "without_image")
    kept = {key: _rounded(value) for key, value in scores.items() if key not in hidden}
    replace(card, scores={**card.scores, name: kept}).write(path)
    log.info("%s: scores of %s recorded", path, name)


def as_lines(scores: dict[str, Any]) -> list[str]:
    """Return the scores as lines for a person, with the number of files without a partner."""
    lines = [f"{'frames':<20}{scores['frames']}"]
    for name in ("dice", "iou", "miou", "dice_total", "precision", "recall", "false_alarm"):
        value = scores[name]
        counted = scores.get(f"{name}_frames")
        text = "no such frame"
        if value is not None:
            low, high = scores["intervals"][name]
            text = f"{value:.4f}   ({low:.3f} to {high:.3f})"
        lines.append(f"{name:<20}{text}{f'   of {counted} frames' if counted is not None else ''}")
    for size, row in scores["polyps"].items():
        found = f"{row['found']} of {row['polyps']} found"
        lines.append(
            f"{f'polyps, {size}':<20}{found}, {row['false_areas']:.3f} false positives per frame"
        )
    for centre, row in scores["by_centre"].items():
        found = f"{row['found']} of {row['polyps']} found"
        lines.append(
            f"{f'centre {centre}':<20}dice {row['dice']:.4f} of {row['frames']} frames, {found}, "
            f"{row['false_areas']:.3f} false positives per frame"
        )
    for row in scores.get("by_peak", ()):
        lines.append(
            f"{'peak {:g}'.format(row['peak']):<20}{row['found']} found, "
            f"{row['false_positives']} false positives, "
            f"{row['empty_marked']} frames without a polyp are marked"
        )
    for key, what in (
        ("without_mask", "images without a mask"),
        ("without_image", "masks without an image"),
    ):
        if scores[key]:
            shown = ", ".join(scores[key][:10]) + (", ..." if len(scores[key]) > 10 else "")
            lines.append(f"{len(scores[key])} {what}: {shown}")
    return lines


def _maps(
    inference: Inference, samples: list[Sample], video: bool
) -> Iterator[tuple[Sample, ProbabilityMap]]:
    """Yield each sample with its probability map; a few are in flight at a time."""
    card = inference.card
    pending: deque[tuple[Sample, Future[ProbabilityMap]]] = deque()

    def finish() -> tuple[Sample, ProbabilityMap]:
        sample, future = pending.popleft()
        try:
            return sample, future.result()
        except InferenceError as error:
            raise UserError(f"{sample.pair.image}: inference failed: {error}") from error

    for sample in tqdm(samples, "evaluating", unit=" frames", disable=None):
        frame, size = sample.pair.read_frame(), (card.input.height, card.input.width)
        tensor = frame_to_tensor(as_video(frame, *size) if video else frame, *size)
        pending.append((sample, inference.submit(tensor)))
        if len(pending) == IN_FLIGHT:
            yield finish()
    while pending:
        yield finish()


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _rounded(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_rounded(v) for v in value]
    return round(value, 4) if isinstance(value, float) else value
