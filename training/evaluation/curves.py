"""`xpnet evaluate curves`: precision over recall and free-response curves of one or more models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from xpnet.errors import UserError
from xpnet.figures import new_figure, save_figure

SHOWN = (0.1, 0.3, 0.5, 0.7, 0.9)
"""Thresholds that are printed beside their points."""


CURVES = {"threshold", "recall", "precision", "false_areas", "sensitivity"}
MOST = 2.0
"""Upper end of the axis of false positives per frame; more would make the display useless."""


def draw_curves(models: dict[str, dict[str, Any]], path: Path) -> None:
    """Draw the curves of models as .png, .svg or .pdf.

    Left: pixel precision over recall, averaged over frames. Right: polyps found over false
    positives per frame. Each point is a threshold from 0.05 to 0.95.

    Args:
        models: Scores of `xpnet evaluate --json` by name.
        path: Picture to write.

    Raises:
        UserError: Scores without curves, an unknown suffix, or the file cannot be written.
    """
    figure = new_figure(10, 4.4)
    left, right = figure.subplots(1, 2)
    for name, scores in models.items():
        table = scores.get("curves")
        if not isinstance(table, dict) or not table.keys() >= CURVES:
            raise UserError(f"{name}: no curves in it: expected the scores of `evaluate --json`")
        _line(left, table["recall"], table["precision"], table["threshold"], name)
        _line(right, table["false_areas"], table["sensitivity"], table["threshold"], name)
    left.set(xlabel="recall (pixels)", ylabel="precision (pixels)", title="Precision and recall")
    right.set(
        xlabel="false positives per frame",
        ylabel="polyps found",
        title="Free response",
        xlim=(0, MOST),
    )
    for axes in (left, right):
        axes.grid(alpha=0.3)
    left.legend(loc="lower left")
    save_figure(figure, path)


def _line(axes: Any, x: list[float], y: list[float], thresholds: list[float], name: str) -> None:
    points = [(a, b, t) for a, b, t in zip(x, y, thresholds, strict=True) if None not in (a, b)]
    drawn = axes.plot([p[0] for p in points], [p[1] for p in points], ".-", label=name)
    for a, b, threshold in points:
        if threshold in SHOWN:
            axes.annotate(
                f"{threshold}", (a, b), (4, 4), textcoords="offset points", fontsize=8,
                color=drawn[0].get_color(),
            )  # fmt: skip
