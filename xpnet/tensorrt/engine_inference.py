"""Run a TensorRT plan or a TensorRT-RTX engine on the GPU, to check, time and score it.

NVIDIA's Polygraphy allocates the memory and makes the copies. This module is not for live video:
there, Triton or DeepStream runs the plan.
"""

from __future__ import annotations

import os
import sys
import time
from concurrent.futures import Future, ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xpnet.card import Card, read_card
from xpnet.errors import UserError, not_installed
from xpnet.frames import ProbabilityMap
from xpnet.inference import InferenceError, check_probabilities
from xpnet.paths import card_path
from xpnet.tensorrt.engine_builder import DRIVER_HINT, make_logger
from xpnet.tensorrt.rtx_engine import import_tensorrt_rtx, read_summary

LIBRARY_BY_SUFFIX = {".plan": "TensorRT", ".engine": "TensorRT-RTX"}
"""File name suffixes of what `xpnet build` writes, and the library that runs such a file."""
WARM_UP_RUNS = 5


class EngineInference:
    """`xpnet.inference.Inference` for a TensorRT plan or a TensorRT-RTX engine."""

    def __init__(self, path: Path, card: Card | None = None) -> None:
        """Load an engine file and create its execution context.

        Args:
            path: A .plan file (TensorRT) or an .engine file (TensorRT-RTX).
            card: Card of a plan that was just built. By default the card file beside `path` is
                read, and must belong to exactly this file.

        Raises:
            UserError: The library or the driver is missing, the file is not an engine, or it was
                built with another version of the library.
        """
        library = LIBRARY_BY_SUFFIX.get(path.suffix)
        if library is None:
            expected = " or ".join(LIBRARY_BY_SUFFIX)
            raise UserError(f"{path}: expected a file name that ends in {expected}")
        if not path.is_file():
            raise UserError(f"{path}: no such {library} file")
        trt = import_tensorrt() if library == "TensorRT" else _import_tensorrt_rtx()
        content = path.read_bytes()
        self.card, built_with, digest = (card, "", "") if card else _read_card(path, library)
        installed = str(trt.__version__)
        # trtexec reports three numbers of the version, the Python module four.
        if built_with and built_with.split(".")[:3] != installed.split(".")[:3]:
            raise UserError(
                f"{path}: built with {library} {built_with}, but {installed} is installed: "
                "build it again"
            )
        if digest and digest != sha256(content).hexdigest():
            raise UserError(f"{path}: the card beside it belongs to another file: build it again")
        dla = self.card.graph.get("dla")
        self._runner: Any = None
        self._pool = ThreadPoolExecutor(1, "engine")  # CUDA objects are used in one thread only
        try:
            future = self._pool.submit(_create_runner, trt, library, path, content, dla)
            self._runner = future.result()
        except UserError:
            self.close()
            raise

    def submit(self, tensor: NDArray[np.float32]) -> Future[ProbabilityMap]:
        """Run one frame in the background; see `xpnet.inference.Inference`."""
        return self._pool.submit(self._infer, tensor)

    def measure_median_ms(self, tensor: NDArray[np.float32], runs: int) -> float:
        """Measure the latency of one frame, including the copies to and from the GPU.

        Args:
            tensor: One frame, 1 x 3 x H x W, in [0, 1].
            runs: Number of timed runs.

        Returns:
            The median latency in milliseconds.
        """

        def measure_ms() -> float:
            start = time.perf_counter()
            self._infer(tensor)
            return (time.perf_counter() - start) * 1000

        def measure_all() -> list[float]:
            return [measure_ms() for _ in range(WARM_UP_RUNS + runs)][WARM_UP_RUNS:]

        return float(np.median(self._pool.submit(measure_all).result()))

    def abandon(self, reason: str) -> None:
        """Do nothing: a call into the library always returns."""

    def close(self) -> None:
        """Free the engine and stop the thread; safe to call twice."""
        if self._runner is not None:
            self._pool.submit(self._runner.deactivate).result()
            self._runner = None
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _infer(self, tensor: NDArray[np.float32]) -> ProbabilityMap:
        try:
            outputs = self._runner.infer({self.card.input.name: tensor})
        except Exception as error:  # Polygraphy raises PolygraphyException for every failure
            raise InferenceError(f"the engine failed: {error}") from error
        probabilities = np.array(outputs[self.card.output.name][0, 0], dtype=np.float32)
        return check_probabilities(probabilities)


def import_tensorrt() -> Any:
    """Import TensorRT's Python module.

    Raises:
        UserError: It is not installed, or its version is not supported.
    """
    try:
        import tensorrt as trt
    except ImportError as error:
        how = "it comes with JetPack and with NVIDIA's Triton and DeepStream containers"
        raise not_installed("TensorRT", "a plan", how) from error
    check_tensorrt_version(str(trt.__version__))
    return trt


def check_tensorrt_version(version: str) -> None:
    """Raise UserError unless `version` is TensorRT 10 or 11.

    Older versions lack strongly typed networks, which take every precision from the ONNX file.
    """
    if version.partition(".")[0] not in ("10", "11"):
        raise UserError(
            f"TensorRT {version}: expected 10 or 11, which support strongly typed networks"
        )


def require_polygraphy() -> Any:
    """Import Polygraphy's TensorRT backend.

    Raises:
        UserError: Polygraphy is not installed.
    """
    try:
        from polygraphy.backend import trt
    except ImportError as error:
        raise not_installed("polygraphy", "running an engine", "scripts/setup.sh") from error
    return trt


def require_cuda_runtime() -> None:
    """Load the CUDA runtime library, which Polygraphy uses for copies.

    Polygraphy searches LD_LIBRARY_PATH, CUDA's directory and the wheel of CUDA 12. The wheel of
    CUDA 13, a dependency of TensorRT's wheel, has the library in another directory
    (nvidia-cuda-runtime: nvidia/cu13/lib), so this function searches there, too.

    Raises:
        UserError: The library is not installed.
    """
    from polygraphy import cuda
    from polygraphy.logger import G_LOGGER

    G_LOGGER.module_severity = G_LOGGER.CRITICAL + 1
    original = os.environ.get("LD_LIBRARY_PATH")
    for search_path in ("", os.pathsep.join(_cuda_wheel_directories())):
        try:
            if search_path:
                os.environ["LD_LIBRARY_PATH"] = search_path
            cuda.wrapper()
            return
        except OSError:
            continue
        finally:  # child processes need the original value
            if original is None:
                os.environ.pop("LD_LIBRARY_PATH", None)
            else:
                os.environ["LD_LIBRARY_PATH"] = original
    how = "it comes with CUDA and with JetPack, or as the package nvidia-cuda-runtime"
    raise not_installed("CUDA's runtime (libcudart)", "running an engine", how)


def _cuda_wheel_directories() -> list[str]:
    found = (sorted(Path(entry or ".").glob("nvidia/cu*/lib")) for entry in sys.path)
    return [str(directory.absolute()) for directories in found for directory in directories]


def _import_tensorrt_rtx() -> Any:
    """Import TensorRT-RTX, and make Polygraphy use it instead of TensorRT."""
    trt = import_tensorrt_rtx()
    # Polygraphy reads the variable and imports `tensorrt_rtx` when it is first imported.
    os.environ["POLYGRAPHY_USE_TENSORRT_RTX"] = "1"
    sys.modules.setdefault("tensorrt_rtx", trt)
    return trt


def _read_card(path: Path, library: str) -> tuple[Card, str, str]:
    """Return an engine's card, the library version that built it, and its SHA-256 if known."""
    if library == "TensorRT-RTX":
        return (*read_summary(path), "")
    card = read_card(card_path(path.parent))
    graph = card.graph
    return card, str(graph.get("tensorrt", "an unknown version")), str(graph.get("sha256", ""))


def _create_runner(trt: Any, library: str, path: Path, content: bytes, dla: int | None) -> Any:
    polygraphy_trt = require_polygraphy()
    from polygraphy.exception import PolygraphyException

    logger = make_logger(trt)
    try:
        runtime = trt.Runtime(logger)
        if dla is not None:
            runtime.DLA_core = dla
        engine = runtime.deserialize_cuda_engine(content)
        if engine is None:
            reason = f"{logger.last_error}; {DRIVER_HINT}"
            raise UserError(f"{path}: {library} cannot load it: {reason}")
        require_cuda_runtime()
        runner = polygraphy_trt.TrtRunner(engine)
        runner.activate()
    except (TypeError, OSError, PolygraphyException) as error:
        raise UserError(f"{path}: {library} cannot run it: {error}; {DRIVER_HINT}") from error
    return runner
