"""Inference without a server, in a process of its own, for comparison with one.

Linux shares the processor among sessions first (autogroup, sched(7)) and the server is a session of
its own: so is this, or a busy machine would favour one of the two.
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
from xpnet.serving.onnx_inference import OnnxInference
from xpnet.tensorrt.engine_inference import EngineInference

START_S = 120.0
"""Loading a model takes no longer."""


class InProcess:
    """The network of a model's folder, a plan or an ONNX file, loaded in a child process.

    `runtime` is one of xpnet.serving.cpu_runtimes, for an ONNX file; `frames` are what it is given in turn.

    Raises:
        UserError: the model cannot be loaded.
    """

    def __init__(self, folder: Path, runtime: str, frames: tuple[Frame, ...]) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._child = context.Process(target=_serve, args=(theirs,), daemon=True)
        self._child.start()
        theirs.close()
        # Not as arguments: a child that dies before it reads megabytes of them hangs its parent.
        self._ask((folder, runtime, frames), START_S)

    def throughput(self, at_a_time: int, seconds: float) -> float:
        """Frames a second with `at_a_time` frames submitted, over a window of `seconds`."""
        return self._ask((at_a_time, seconds), START_S + seconds)

    def close(self) -> None:
        """Ends the child."""
        self._pipe.close()
        self._child.join(5)
        self._child.kill()
        self._child.join()

    def _ask(self, question: tuple[Any, ...], timeout_s: float) -> float:
        try:
            self._pipe.send(question)
            if not self._pipe.poll(timeout_s):
                raise UserError(f"inference in process: no answer within {timeout_s:g} s")
            answer: float | str = self._pipe.recv()
        except (EOFError, OSError) as error:
            raise UserError("inference in process: the process ended by itself") from error
        if isinstance(answer, str):
            raise UserError(answer)
        return answer


def throughput(
    inference: Inference, tensors: list[NDArray[np.float32]], at_a_time: int, seconds: float
) -> float:
    """Frames a second of a loaded model with `at_a_time` of `tensors` submitted."""
    inference.submit(tensors[0]).result()  # the first one warms up
    waiting = deque(inference.submit(tensors[i % len(tensors)]) for i in range(at_a_time))
    start, done = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        waiting.popleft().result()
        done += 1
        waiting.append(inference.submit(tensors[done % len(tensors)]))
    elapsed = time.perf_counter() - start
    for future in waiting:
        future.result()
    return done / elapsed


def _serve(pipe: Connection) -> None:
    """The child: loads the model, then measures as often as it is asked to."""
    os.setsid()
    try:
        folder, runtime, frames = pipe.recv()
        inference = _open(folder, runtime)
    except UserError as error:
        pipe.send(str(error))
        return
    except EOFError:  # the parent ended
        return
    card = inference.card
    tensors = [frame_to_tensor(f, card.input.height, card.input.width) for f in frames]
    pipe.send(0.0)
    try:
        while True:
            pipe.send(throughput(inference, tensors, *pipe.recv()))
    except (EOFError, OSError):  # the parent is done
        inference.close()


def _open(folder: Path, runtime: str) -> Inference:
    plan = folder / "1" / "model.plan"
    if plan.is_file():
        return EngineInference(plan)
    return OnnxInference(folder / "1" / "model.onnx", runtime)
