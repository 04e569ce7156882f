"""A built engine or plan, run on the GPU: to check it, to time it, and to score it.

Memory and copies are those of NVIDIA's Polygraphy. Not for live video: that is Triton's or
DeepStream's part.
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
from xpnet.errors import UserError, require
from xpnet.frames import ProbabilityMap
from xpnet.inference import InferenceError
from xpnet.tensorrt.network_definition import DRIVER, make_logger
from xpnet.tensorrt.rtx_engine import bindings, read_summary

SUFFIXES = {".plan": "TensorRT", ".engine": "TensorRT-RTX"}
"""Of the files that `xpnet build` makes, and the library that runs them."""


class EngineInference:
    """A plan of TensorRT or an engine of TensorRT-RTX, by its suffix; see `Inference`.

    `card` is given for a plan that was built a moment ago; else the one beside the file counts,
    and it must be of this very file.

    Raises:
        UserError: the library or the driver is missing, the file is no engine, or one of another
            version of the library.
    """

    def __init__(self, path: Path, card: Card | None = None) -> None:
        library = SUFFIXES.get(path.suffix)
        if library is None:
            raise UserError(f"{path}: expected a file that ends in {' or '.join(SUFFIXES)}")
        if not path.is_file():
            raise UserError(f"{path}: no such {library} file")
        trt = tensorrt() if library == "TensorRT" else _tensorrt_rtx()
        content = path.read_bytes()
        self.card, built_with, digest = (card, "", "") if card else _card(path, library)
        here = str(trt.__version__)
        # trtexec tells three numbers, the module four.
        if built_with and built_with.split(".")[:3] != here.split(".")[:3]:
            raise UserError(
                f"{path}: built with {library} {built_with}, here is {here}: build again"
            )
        if digest and digest != sha256(content).hexdigest():
            raise UserError(f"{path}: the card beside it is of another file: build again")
        dla = self.card.graph.get("dla")
        self._runner: Any = None
        self._pool = ThreadPoolExecutor(1, "engine")  # CUDA's objects stay in their thread
        try:
            made = self._pool.submit(_activate, trt, library, path, content, dla)
            self._runner = made.result()
        except UserError:
            self.close()
            raise

    def submit(self, tensor: NDArray[np.float32]) -> Future[ProbabilityMap]:
        """See `Inference`."""
        return self._pool.submit(self._run, tensor)

    def median_ms(self, tensor: NDArray[np.float32], runs: int) -> float:
        """Milliseconds of one frame, 1 x 3 x H x W, its copies to and from the GPU included."""

        def timed() -> float:
            start = time.perf_counter()
            self._run(tensor)
            return (time.perf_counter() - start) * 1000

        times = self._pool.submit(lambda: [timed() for _ in range(runs + 5)][5:]).result()
        return float(np.median(times))

    def give_up(self, reason: str) -> None:
        """Nothing to do: a call into the library always returns."""

    def close(self) -> None:
        """See `Inference`."""
        if self._runner is not None:
            self._pool.submit(self._runner.deactivate).result()
            self._runner = None
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _run(self, tensor: NDArray[np.float32]) -> ProbabilityMap:
        try:
            outputs = self._runner.infer({self.card.input.name: tensor})
        except Exception as error:  # Polygraphy has one exception for everything
            raise InferenceError(f"the engine failed: {error}") from error
        return np.array(outputs[self.card.output.name][0, 0], dtype=np.float32)


def tensorrt() -> Any:
    """TensorRT's Python module, of a version that takes the precision from the graph.

    Raises:
        UserError: it is not installed, or another version.
    """
    try:
        import tensorrt as trt
    except ImportError as error:
        how = "it comes with JetPack and with NVIDIA's Triton and DeepStream containers"
        raise require("TensorRT", "a plan", how) from error
    check_version(str(trt.__version__))
    return trt


def check_version(version: str) -> None:
    """Raises UserError unless `version` is of TensorRT 10 or 11."""
    if version.partition(".")[0] not in ("10", "11"):
        raise UserError(f"TensorRT {version}: expected 10 or 11, which take strongly typed graphs")


def _tensorrt_rtx() -> Any:
    trt = bindings()
    # Polygraphy looks for these two when it is imported.
    os.environ["POLYGRAPHY_USE_TENSORRT_RTX"] = "1"
    sys.modules.setdefault("tensorrt_rtx", trt)
    return trt


def _card(path: Path, library: str) -> tuple[Card, str, str]:
    """The card beside an engine, the library's version that built it, and the file's SHA-256."""
    if library == "TensorRT-RTX":
        return (*read_summary(path), "")
    card = read_card(path.with_name("card.json"))
    graph = card.graph
    return card, str(graph.get("tensorrt", "an unknown version")), str(graph.get("sha256", ""))


def require_polygraphy() -> Any:
    """Polygraphy's module for TensorRT. Raises UserError where it is not installed."""
    try:
        from polygraphy.backend import trt
    except ImportError as error:
        raise require("polygraphy", "running an engine", "scripts/setup.sh") from error
    return trt


def require_cuda_runtime() -> None:
    """Loads the library that Polygraphy copies with.

    It looks in LD_LIBRARY_PATH, in CUDA's folder, and in the wheel of CUDA 12; that of CUDA 13,
    which comes with TensorRT's own, keeps it elsewhere (nvidia-cuda-runtime: nvidia/cu13/lib).

    Raises:
        UserError: it is not installed.
    """
    from polygraphy import cuda
    from polygraphy.logger import G_LOGGER

    G_LOGGER.module_severity = G_LOGGER.CRITICAL + 1
    before = os.environ.get("LD_LIBRARY_PATH")
    for folders in ("", os.pathsep.join(_wheels_of_cuda())):
        try:
            if folders:
                os.environ["LD_LIBRARY_PATH"] = folders
            cuda.wrapper()
            return
        except OSError:
            continue
        finally:  # programs that we start are to find what they found before
            if before is None:
                os.environ.pop("LD_LIBRARY_PATH", None)
            else:
                os.environ["LD_LIBRARY_PATH"] = before
    how = "it comes with CUDA and with JetPack, or as the package nvidia-cuda-runtime"
    raise require("CUDA's runtime (libcudart)", "running an engine", how)


def _wheels_of_cuda() -> list[str]:
    found = (sorted(Path(place or ".").glob("nvidia/cu*/lib")) for place in sys.path)
    return [str(folder.absolute()) for folders in found for folder in folders]


def _activate(trt: Any, library: str, path: Path, content: bytes, dla: int | None) -> Any:
    runners = require_polygraphy()
    from polygraphy.exception import PolygraphyException

    logger = make_logger(trt)
    try:
        runtime = trt.Runtime(logger)
        if dla is not None:
            runtime.DLA_core = dla
        engine = runtime.deserialize_cuda_engine(content)
        if engine is None:
            raise UserError(f"{path}: {library} cannot load it: {logger.last}; {DRIVER}")
        require_cuda_runtime()
        runner = runners.TrtRunner(engine)
        runner.activate()
    except (TypeError, OSError, PolygraphyException) as error:
        raise UserError(f"{path}: {library} cannot run it: {error}; {DRIVER}") from error
    return runner
