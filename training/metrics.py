"""Segmentation metrics over a set of frames, in numpy: no torch, so they run on a target.

The paper prints a Dice below its IoU for teacher 2, which no foreground IoU allows; so every
report here names both the foreground's `iou` and the mean over polyp and background, `miou`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from xpnet.frames import Mask


@dataclass
class MetricSums:
    """Collects frames one by one; `scores` gives the averages.

    Per frame, averaged over frames: `dice` and `iou` of the polyp (both 1 for an empty mask met
    by an empty prediction), `miou` (mean of polyp and background IoU), `precision` (over frames
    with a prediction), `recall` (over frames with a polyp). Over all pixels of the set:
    `dice_total`. `false_alarm`: of the frames without a polyp, the share with any predicted
    pixel. Every average that leaves frames out comes with its count; where no frame counts, the
    value is None.
    """

    _rows: list[tuple[int, int, int, int]] = field(default_factory=list)

    def add(self, predicted: Mask, true: Mask) -> None:
        """One frame: two H x W masks of 0 and 1.

        Raises:
            ValueError: the masks differ in shape.
        """
        if predicted.shape != true.shape:
            raise ValueError(f"predicted mask {predicted.shape}: expected {true.shape}")
        p, t = predicted.astype(bool), true.astype(bool)
        hit, n_predicted, n_true = int((p & t).sum()), int(p.sum()), int(t.sum())
        self._rows.append((hit, n_predicted, n_true, p.size))

    def scores(self) -> dict[str, float | int | None]:
        """All metrics by name. Raises ValueError where no frame was added."""
        if not self._rows:
            raise ValueError("no frame was scored")
        hit, predicted, true, pixels = np.array(self._rows, dtype=np.float64).T
        union = predicted + true - hit
        background_union = pixels - hit
        iou = _ratio(hit, union)
        background_iou = _ratio(pixels - union, background_union)
        found, present = predicted > 0, true > 0
        return {
            "frames": len(self._rows),
            "dice": float(_ratio(2 * hit, predicted + true).mean()),
            "iou": float(iou.mean()),
            "miou": float(((iou + background_iou) / 2).mean()),
            "dice_total": float(_ratio(2 * hit.sum(), predicted.sum() + true.sum())),
            "precision": _mean(hit[found] / predicted[found]),
            "precision_frames": int(found.sum()),
            "recall": _mean(hit[present] / true[present]),
            "recall_frames": int(present.sum()),
            "false_alarm": _mean(found[~present].astype(np.float64)),
            "false_alarm_frames": int((~present).sum()),
        }


def _ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """Element by element, 1 where both are 0: nothing to find and nothing found."""
    return np.where(denominator > 0, numerator / np.maximum(denominator, 1), 1.0)


def _mean(values: np.ndarray) -> float | None:
    return float(values.mean()) if values.size else None
