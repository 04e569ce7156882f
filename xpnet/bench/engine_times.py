"""Times of TensorRT plans and TensorRT-RTX engines on the GPU, for `xpnet bench network`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from xpnet.errors import UserError
from xpnet.inference import InferenceError
from xpnet.paths import plan_path
from xpnet.tensorrt.engine_inference import LIBRARY_BY_SUFFIX, EngineInference

RUNS = 60


def time_engines(paths: list[Path]) -> tuple[list[dict[str, Any]], list[str]]:
    """Time one frame in each engine, with the copies to the GPU and back.

    Args:
        paths: .plan files of TensorRT, .engine files of TensorRT-RTX, each with its card or
            summary beside it.

    Returns:
        A row for each engine that ran, with `engine` (its model), `library`, `precision`, `size`,
        `ms` (median) and `frames_per_s`; and for each other one a line that says why it did not.
    """
    rows: list[dict[str, Any]] = []
    left_out = [] if paths else ["TensorRT: no plan to time; `xpnet build` makes one"]
    for path in paths:
        try:
            rows.append(_time_engine(path))
        except (UserError, InferenceError) as error:
            reason = str(error)
            left_out.append(reason if str(path) in reason else f"{path}: {reason}")
    return rows, left_out


def built_plans(repository: Path) -> list[Path]:
    """Return the plans that `xpnet build` has written to a model repository.

    Raises:
        UserError: There is no such folder.
    """
    if not repository.is_dir():
        raise UserError(f"{repository}: no such model repository")
    return sorted(plan for plan in map(plan_path, repository.iterdir()) if plan.is_file())


def _time_engine(path: Path) -> dict[str, Any]:
    """Load and time one engine. Raises UserError or InferenceError if it does not run."""
    engine = EngineInference(path)
    try:
        card = engine.card
        height, width = card.input.height, card.input.width
        tensor = np.random.default_rng(0).random((1, 3, height, width), dtype=np.float32)
        median_ms = engine.measure_median_ms(tensor, RUNS)
    finally:
        engine.close()
    return {
        "engine": card.name,
        "library": LIBRARY_BY_SUFFIX[path.suffix],
        "precision": card.graph.get("precision", "fp32"),
        "size": height,
        "ms": round(median_ms, 3),
        "frames_per_s": round(1000 / median_ms),
    }
