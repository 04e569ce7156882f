"""A served model that answers wrongly or slowly while a file says so: Triton's `model.py`.

`xpnet bench faults` serves it in the place of a network's model, by Triton's Python backend.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np

from xpnet.bench.faults.answer_faults import NOT_A_NUMBER, SLOW, SLOW_S
from xpnet.serving.backends.onnxruntime.model import TritonPythonModel as WorkingModel

ONNX_FILE = "model.onnx"


class TritonPythonModel(WorkingModel):
    """The working model behind a fault that can be switched."""

    def initialize(self, args: dict[str, str]) -> None:
        """Load the model; the file `fault` in its folder is read for each request."""
        # Triton takes model.py for the model's file.
        config = {**json.loads(args["model_config"]), "default_model_filename": ONNX_FILE}
        super().initialize({**args, "model_config": json.dumps(config)})
        faulty = _Faulty(self.model, Path(args["model_repository"], "fault"))
        self.model = faulty  # type: ignore[assignment]  # only `run` is used from here on


class _Faulty:
    def __init__(self, model: Any, fault: Path) -> None:
        self._model, self._fault = model, fault

    def run(self, names: list[str], feeds: Any) -> list[Any]:
        results = self._model.run(names, feeds)
        fault = self._fault.read_text(encoding="utf-8") if self._fault.exists() else ""
        if fault == SLOW:
            time.sleep(SLOW_S)
        elif fault:
            value = np.nan if fault == NOT_A_NUMBER else 7.0
            results = [np.full_like(result, value) for result in results]
        return list(results)
