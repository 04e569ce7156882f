"""Plots: creating a figure and writing it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from xpnet.errors import UserError, not_installed
from xpnet.files import check_writable, replacing

SUFFIXES = ("png", "svg", "pdf")


def check_figure(path: Path) -> None:
    """Check that a plot can be written to a path, before any work is done. Raises UserError."""
    if path.suffix.lstrip(".").lower() not in SUFFIXES:
        raise UserError(f"{path}: expected a name that ends in .png, .svg or .pdf")
    check_writable(path)
    _matplotlib()


def new_figure(width: float, height: float) -> Any:
    """Return an empty matplotlib figure that needs no screen.

    Args:
        width: Width in inches.
        height: Height in inches.

    Raises:
        UserError: matplotlib is not installed.
    """
    figure = _matplotlib().figure.Figure(figsize=(width, height), layout="constrained")
    _matplotlib().backends.backend_agg.FigureCanvasAgg(figure)
    return figure


def save_figure(figure: Any, path: Path) -> None:
    """Write a figure as .png, .svg or .pdf. Raises UserError as `check_figure` does."""
    check_figure(path)
    with replacing(path) as partial:
        figure.savefig(partial, format=path.suffix.lstrip(".").lower(), dpi=110)


def _matplotlib() -> Any:
    try:
        import matplotlib.backends.backend_agg
        import matplotlib.figure
    except ImportError as error:
        raise not_installed("matplotlib", "a plot", "scripts/setup.sh --bench") from error
    return matplotlib
