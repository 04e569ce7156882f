"""Measure inference without a server, in a child process, for comparison with Triton.

The child process starts a session of its own, as the server does. Linux divides CPU time between
sessions first (autogroup, sched(7)), so without this a busy machine would favour one of the two.
"""

from __future__ import annotations

import multiprocessing
import os
import time
from collections import deque
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xpnet.errors import UserError
from xpnet.frames import Frame, frame_to_tensor
from xpnet.inference import Inference
from xpnet.paths import onnx_path, plan_path
from xpnet.serving.onnx_inference import OnnxInference
from xpnet.tensorrt.engine_inference import EngineInference

LOAD_TIMEOUT_S = 120.0
"""Longest time to load a model."""


class InProcessInference:
    """A model loaded in a child process, which measures its throughput."""

    def __init__(self, model_dir: Path, runtime: str, frames: tuple[Frame, ...]) -> None:
        """Start the child process and load the model.

        Args:
            model_dir: The model's folder in a model repository. Its plan is used if there is one,
                otherwise its ONNX file.
            runtime: One of `xpnet.serving.cpu_runtimes`, for an ONNX file.
            frames: Frames to run the model on, alternately.

        Raises:
            UserError: The model cannot be loaded.
        """
        context = multiprocessing.get_context("spawn")
        self._pipe, child_pipe = context.Pipe()
        self._child = context.Process(target=_run_child, args=(child_pipe,), daemon=True)
        self._child.start()
        child_pipe.close()
        # Sent through the pipe, not as process arguments: if the child ends before it has read
        # megabytes of arguments, the parent hangs.
        self._request((model_dir, runtime, frames), LOAD_TIMEOUT_S)

    def measure_fps(self, concurrency: int, seconds: float) -> float:
        """Measure the throughput.

        Args:
            concurrency: Number of frames submitted at the same time.
            seconds: Length of the measurement.

        Returns:
            Frames per second.

        Raises:
            UserError: The child process ended or does not answer.
        """
        return self._request((concurrency, seconds), LOAD_TIMEOUT_S + seconds)

    def close(self) -> None:
        """Stop the child process."""
        self._pipe.close()
        self._child.join(5)
        self._child.kill()
        self._child.join()

    def _request(self, arguments: tuple[Any, ...], timeout_s: float) -> float:
        """Send arguments to the child and return its result; a string is an error message."""
        try:
            self._pipe.send(arguments)
            if not self._pipe.poll(timeout_s):
                raise UserError(f"inference in process: no answer within {timeout_s:g} s")
            result: float | str = self._pipe.recv()
        except (EOFError, OSError) as error:
            raise UserError("inference in process: the child process ended") from error
        if isinstance(result, str):
            raise UserError(result)
        return result


def measure_fps(
    inference: Inference, tensors: list[NDArray[np.float32]], concurrency: int, seconds: float
) -> float:
    """Measure the throughput of a loaded model.

    Args:
        inference: The model.
        tensors: Frames to run it on, alternately, each 1 x 3 x H x W.
        concurrency: Number of frames submitted at the same time.
        seconds: Length of the measurement.

    Returns:
        Frames per second.
    """
    inference.submit(tensors[0]).result()  # warm-up
    pending = deque(inference.submit(tensors[i % len(tensors)]) for i in range(concurrency))
    start, completed = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        pending.popleft().result()
        completed += 1
        pending.append(inference.submit(tensors[completed % len(tensors)]))
    elapsed = time.perf_counter() - start
    for future in pending:
        future.result()
    return completed / elapsed


def _run_child(pipe: Connection) -> None:
    """Load the model, then measure for each request until the parent closes the pipe."""
    os.setsid()
    try:
        model_dir, runtime, frames = pipe.recv()
        inference = _load_model(model_dir, runtime)
    except UserError as error:
        pipe.send(str(error))
        return
    except EOFError:  # the parent process ended
        return
    card = inference.card
    tensors = [frame_to_tensor(f, card.input.height, card.input.width) for f in frames]
    pipe.send(0.0)  # loaded
    try:
        while True:
            pipe.send(measure_fps(inference, tensors, *pipe.recv()))
    except (EOFError, OSError):  # the parent closed the pipe
        inference.close()


def _load_model(model_dir: Path, runtime: str) -> Inference:
    plan = plan_path(model_dir)
    if plan.is_file():
        return EngineInference(plan)
    return OnnxInference(onnx_path(model_dir), runtime)
