"""Inference on an ONNX file in this process, on the CPU."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from xpnet.card import METADATA_KEY, Card, parse_card
from xpnet.errors import UserError
from xpnet.frames import ProbabilityMap
from xpnet.host.processes import lower_thread_priority
from xpnet.inference import InferenceError, check_probabilities
from xpnet.serving.cpu_runtimes import CpuModel, open_model


class OnnxInference:
    """An ONNX file in this process, on the CPU, one frame at a time.

    ONNX Runtime in float32 is the reference for scores.

    Args:
        path: The ONNX file.
        runtime: A runtime of xpnet.serving.cpu_runtimes.
        threads: Number of threads; 0 for one on each core.
        low_priority: Whether it leaves most of a core to others that want it, such as a picture.

    Raises:
        UserError: The runtime is missing, the file has no XP-Net card, or its tensors differ from
            those of its card.
    """

    def __init__(
        self,
        path: Path,
        runtime: str = "onnxruntime",
        threads: int = 0,
        low_priority: bool = False,
    ) -> None:
        start = lower_thread_priority if low_priority else None
        self._pool = ThreadPoolExecutor(1, "onnx", initializer=start)
        # Opened by the pool's thread: the runtime's own threads inherit its priority.
        try:
            self._model = self._pool.submit(open_model, path, runtime, threads).result()
            metadata = self._model.metadata
            if METADATA_KEY not in metadata:
                raise UserError(f"{path}: has no XP-Net card: expected a file of `xpnet export`")
            self.card = parse_card(metadata[METADATA_KEY], str(path))
            _check_tensors(path, self._model, self.card)
        except BaseException:
            self.close()
            raise

    def submit(self, tensor: NDArray[np.float32]) -> Future[ProbabilityMap]:
        """See `Inference`."""
        return self._pool.submit(self._run, tensor)

    def abandon(self, reason: str) -> None:
        """Do nothing: a call into the runtime always returns."""

    def close(self) -> None:
        """See `Inference`."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _run(self, tensor: NDArray[np.float32]) -> ProbabilityMap:
        try:
            outputs = self._model.run([self.card.output.name], {self.card.input.name: tensor})
        except Exception as error:
            raise InferenceError(f"inference in process: {error}") from error
        return check_probabilities(np.asarray(outputs[0][0, 0], dtype=np.float32))


def _check_tensors(path: Path, model: CpuModel, card: Card) -> None:
    """Compare names and sizes; a file may leave the sizes of its output open."""
    for kind, names, spec in (
        ("input", model.inputs, card.input),
        ("output", model.outputs, card.output),
    ):
        found = [(name, model.shapes[name]) for name in names]
        sizes = model.shapes.get(spec.name, ())
        fits = len(sizes) == 4 and all(
            f == w or (f == -1 and kind == "output")
            for f, w in zip(sizes[1:], spec.shape[1:], strict=True)
        )
        if names != [spec.name] or not fits:
            raise UserError(
                f"{path}: {kind} {found}, expected {(spec.name, spec.shape)} as in its card"
            )
