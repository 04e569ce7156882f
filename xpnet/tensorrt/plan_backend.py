"""The two ways to use TensorRT: its Python API, or the program trtexec."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from xpnet.card import Card
from xpnet.errors import NotInstalled
from xpnet.tensorrt.engine_inference import check_tensorrt_version
from xpnet.tensorrt.python_api import PythonApi
from xpnet.tensorrt.trtexec import Trtexec, find_trtexec

log = logging.getLogger("xpnet.build")


class PlanBackend(Protocol):
    """An interface to TensorRT that builds and runs plans.

    Attributes:
        version: Version of TensorRT, for example 10.16.0.
    """

    version: str

    def describe_timing(self, dla: int | None) -> str:
        """Describe what the latency that `run` returns includes, for the card.

        Args:
            dla: DLA core that the plan runs on; None for the GPU.
        """

    def build(self, onnx: Path, card: Card, output: Path, dla: int | None, cache: Path) -> None:
        """Build a plan from an ONNX file.

        Args:
            onnx: ONNX file of `xpnet export`.
            card: Card of the ONNX file.
            output: The plan file to write.
            dla: DLA core to build for; None for the GPU.
            cache: Timing cache; read if it exists, then written.

        Raises:
            UserError: TensorRT cannot build the plan.
        """

    def run(
        self, plan: Path, card: Card, tensors: list[NDArray[np.float32]], dla: int | None
    ) -> tuple[NDArray[np.float32], float]:
        """Run a plan on some frames and time it.

        Args:
            plan: The plan file.
            card: Card of the ONNX file that the plan was built from.
            tensors: N frames, each 1 x 3 x H x W, in [0, 1].
            dla: DLA core to run on; None for the GPU.

        Returns:
            The probabilities, N x 1 x H x W, and the median latency of one frame in milliseconds.

        Raises:
            UserError: TensorRT cannot run the plan.
        """


def find_plan_backend() -> PlanBackend:
    """Return TensorRT's Python API, or trtexec if the Python API is not installed.

    Raises:
        UserError: Neither is installed, or the version is not TensorRT 10 or 11.
    """
    program = find_trtexec()
    try:
        return PythonApi()
    except NotInstalled as error:
        if program is None:
            raise
        log.info("using %s instead of the Python API: %s", program, error)
    backend = Trtexec(program)
    check_tensorrt_version(backend.version)
    return backend
