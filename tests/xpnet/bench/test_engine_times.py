"""Times of plans and engines: which are timed, and what is said of those that do not run."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from xpnet.bench import engine_times
from xpnet.bench.engine_times import RUNS, built_plans, time_engines
from xpnet.card import read_card
from xpnet.errors import UserError
from xpnet.paths import MODEL_REPOSITORY, card_path, plan_path


def test_an_engine_that_does_not_run_is_named_and_the_others_are_timed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    plan = tmp_path / "model.plan"
    plan.write_bytes(b"plan")
    rows, left_out = time_engines([plan, tmp_path / "a.engine", tmp_path / "a.onnx"])
    assert rows == []
    assert left_out[0].startswith(f"{plan}: ")
    assert "TensorRT" in left_out[0]
    assert left_out[1:] == [
        f"{tmp_path / 'a.engine'}: no such TensorRT-RTX file",
        f"{tmp_path / 'a.onnx'}: expected a file name that ends in .plan or .engine",
    ]


def test_a_row_has_the_median_of_one_frame_of_the_cards_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    class Engine:
        """An engine that needs two milliseconds; a real one needs a GPU."""

        def __init__(self, path: Path) -> None:
            self.card = read_card(card_path(MODEL_REPOSITORY / "xpnet_lite"))

        def measure_median_ms(self, tensor: np.ndarray, runs: int) -> float:
            calls.append((tensor.shape, tensor.dtype, runs))
            return 2.0

        def close(self) -> None:
            calls.append("closed")

    monkeypatch.setattr(engine_times, "EngineInference", Engine)
    rows, left_out = time_engines([tmp_path / "model.plan"])
    assert left_out == []
    assert rows == [
        {"engine": "xpnet_lite", "library": "TensorRT", "precision": "fp32", "size": 256, "ms": 2.0,
         "frames_per_s": 500}
    ]  # fmt: skip
    assert calls == [((1, 3, 256, 256), np.float32, RUNS), "closed"]


def test_plans_of_a_repository_are_those_that_were_built(tmp_path: Path) -> None:
    for name in ("built", "not_built"):
        plan_path(tmp_path / name).parent.mkdir(parents=True)
    assert built_plans(tmp_path) == []
    assert time_engines([]) == ([], ["TensorRT: no plan to time; `xpnet build` makes one"])
    with pytest.raises(UserError, match="none: no such model repository"):
        built_plans(tmp_path / "none")
    plan_path(tmp_path / "built").write_bytes(b"plan")
    assert built_plans(tmp_path) == [plan_path(tmp_path / "built")]
