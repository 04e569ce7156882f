"""Segmentation metrics over a set of frames, in numpy, so that they run on a target without torch.

The paper prints a Dice below its IoU for teacher 2, which no foreground IoU can have. So every
report contains both the foreground's `iou` and the mean over polyp and background, `miou`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from xpnet.frames import Mask

RESAMPLES = 2000
"""Number of bootstrap resamples."""
Counts = tuple[int, int, int, int]
"""Pixels of one frame: true positive, predicted, true, all."""


def counts(predicted: Mask, true: Mask) -> Counts:
    """Count the pixels of one frame.

    Args:
        predicted: H x W mask of 0 and 1.
        true: H x W mask of 0 and 1.

    Raises:
        ValueError: The masks differ in shape.
    """
    if predicted.shape != true.shape:
        raise ValueError(f"predicted mask {predicted.shape}: expected {true.shape}")
    hit = int(np.count_nonzero(predicted & true))
    return hit, int(np.count_nonzero(predicted)), int(np.count_nonzero(true)), predicted.size


def scores(rows: Sequence[Counts]) -> dict[str, float | int | None]:
    """Return all metrics of a set of frames by name.

    Per frame, averaged over frames: `dice` and `iou` of the polyp (both 1 for an empty mask with an
    empty prediction), `miou` (mean of polyp and background IoU), `precision` (over frames with a
    prediction), `recall` (over frames with a polyp). Over all pixels of the set: `dice_total`.
    `false_alarm` is the share of frames without a polyp that have any predicted pixel. An average
    over fewer frames comes with their number, and is None if there is none.

    Args:
        rows: Counts of each frame.

    Raises:
        ValueError: There is no frame.
    """
    frames = _per_frame(rows)
    return {
        "frames": len(rows),
        **{name: _mean(values) for name, values in frames.items()},
        "dice_total": float(_total_dice(*np.array(rows, dtype=np.float64).sum(0)[:3])),
        **{
            f"{name}_frames": int(np.isfinite(frames[name]).sum())
            for name in ("precision", "recall", "false_alarm")
        },
    }


def intervals(rows: Sequence[Counts], seed: int = 0) -> dict[str, list[float]]:
    """Return the 95 % interval of each metric, [low, high], by bootstrap over frames.

    Frames of one clip resemble each other, so the true interval is somewhat wider. Metrics without
    frames are omitted.

    Args:
        rows: Counts of each frame.
        seed: Seed of the bootstrap.
    """
    generator = np.random.default_rng(seed)
    picks = generator.integers(len(rows), size=(RESAMPLES, len(rows)))
    found = {}
    for name, values in _per_frame(rows).items():
        drawn = values[picks]
        valid = np.isfinite(drawn)
        means = np.where(valid, drawn, 0).sum(1) / np.maximum(valid.sum(1), 1)
        if np.isfinite(values).any():
            found[name] = _bounds(means[valid.any(1)])
    # One column at a time: all four together would take four times the memory.
    totals = [column[picks].sum(1) for column in np.array(rows, dtype=np.float64).T[:3]]
    found["dice_total"] = _bounds(_total_dice(*totals))
    return found


def interval_of_mean(values: NDArray[np.float64], seed: int = 0) -> list[float]:
    """Return the 95 % interval of a mean over frames, [low, high], by the same bootstrap.

    Args:
        values: One value for each frame.
        seed: Seed of the bootstrap.
    """
    picks = np.random.default_rng(seed).integers(len(values), size=(RESAMPLES, len(values)))
    return _bounds(values[picks].mean(1))


def _per_frame(rows: Sequence[Counts]) -> dict[str, NDArray[np.float64]]:
    """Return each metric of each frame; NaN if the frame does not count for it."""
    if not rows:
        raise ValueError("no frame was scored")
    hit, predicted, true, pixels = np.array(rows, dtype=np.float64).T
    union = predicted + true - hit
    iou = _ratio(hit, union)
    background_iou = _ratio(pixels - union, pixels - hit)
    with np.errstate(invalid="ignore", divide="ignore"):
        return {
            "dice": _ratio(2 * hit, predicted + true),
            "iou": iou,
            "miou": (iou + background_iou) / 2,
            "precision": hit / predicted,
            "recall": hit / true,
            "false_alarm": np.where(true > 0, np.nan, (predicted > 0).astype(np.float64)),
        }


def _total_dice(hit: NDArray, predicted: NDArray, true: NDArray) -> NDArray[np.float64]:
    """Return the Dice over all pixels of a set, from the sums of its counts."""
    return _ratio(2 * hit, predicted + true)


def _ratio(numerator: NDArray, denominator: NDArray) -> NDArray:
    """Return the elementwise ratio, 1 for 0 / 0: nothing to find and nothing found."""
    return np.where(denominator > 0, numerator / np.maximum(denominator, 1), 1.0)


def _mean(values: NDArray[np.float64]) -> float | None:
    valid = values[np.isfinite(values)]
    return float(valid.mean()) if valid.size else None


def _bounds(means: NDArray[np.float64]) -> list[float]:
    return [float(x) for x in np.percentile(means, (2.5, 97.5))]
