"""A small data set, and settings with which training on it takes about a second."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from training.settings import JOBS, TrainSettings


def make_discs(root: Path, count: int = 12) -> Path:
    """Write frames of a bright disc on noise: two thirds for training, the rest for validation."""
    rng = np.random.default_rng(1)
    rows = ["stem,split"]
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True)
    for number in range(count):
        frame = rng.integers(0, 90, (64, 64, 3)).astype(np.uint8)
        mask = np.zeros((64, 64), np.uint8)
        cv2.circle(mask, tuple(rng.integers(20, 44, 2).tolist()), 14, 255, -1)
        frame[mask > 0] += 120
        cv2.imwrite(str(root / "images" / f"{number}.jpg"), frame)
        cv2.imwrite(str(root / "masks" / f"{number}.png"), mask)
        rows.append(f"{number},{'train' if number < count * 2 // 3 else 'val'}")
    (root / "index.csv").write_text("\n".join(rows))
    return root


@pytest.fixture(scope="session")
def discs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve frames, eight of them in `train`; read-only."""
    return make_discs(tmp_path_factory.mktemp("discs") / "set")


@pytest.fixture
def tiny(discs: Path, tmp_path: Path) -> Callable[..., Any]:
    """Return `tiny(job, **changes)`, which makes settings of a few training steps at 32 pixels."""

    def make(job: str = "student", **changes: object) -> TrainSettings:
        network, kind = JOBS[job]
        values: dict[str, Any] = {
            "network": network,
            "data": str(discs),
            "output": str(tmp_path / job),
            "size": 32,
            "epochs": 3,
            "batch": 4,
            "workers": 0,
            "average": 0.5,
            "accelerator": "cpu",
            "precision": "32-true",
        }
        return kind(**(values | changes))

    return make
