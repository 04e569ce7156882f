"""TensorRT by its Python module: builds a plan, and runs it through xpnet.engines.runner."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xpnet.card import Card
from xpnet.engines.graph import build
from xpnet.engines.runner import EngineInference, require_polygraphy, tensorrt
from xpnet.engines.target import most_frames
from xpnet.errors import UserError
from xpnet.files import write_bytes

log = logging.getLogger("xpnet.build")

RUNS = 100


class PythonApi:
    """See xpnet.engines.plan.Tool.

    Raises:
        UserError: TensorRT's module or Polygraphy is not installed, or of a wrong version.
    """

    times = "Python, copies included"

    def __init__(self) -> None:
        self._trt = tensorrt()
        require_polygraphy()  # before minutes of building, not after
        self.version = str(self._trt.__version__)

    def build(self, onnx: Path, card: Card, output: Path, dla: int | None, cache: Path) -> None:
        """Writes the plan of an ONNX file."""
        trt = self._trt
        alive: list[Any] = []  # a timing cache ends with the builder and config that it came from

        def configure(builder: Any, config: Any) -> None:
            alive.extend((builder, config, _timing_cache(config, cache)))
            if dla is not None:
                if dla >= builder.num_DLA_cores:
                    raise UserError(
                        f"--dla {dla}: TensorRT {self.version} finds {builder.num_DLA_cores} such "
                        "cores here"
                    )
                config.default_device_type = trt.DeviceType.DLA
                config.DLA_core = dla
                config.set_flag(trt.BuilderFlag.GPU_FALLBACK)

        engine = build(trt, "TensorRT", onnx, configure, most_frames(dla))
        write_bytes(output, engine.content)
        _keep(alive[-1], cache)

    def run(
        self, plan: Path, card: Card, tensors: list[NDArray[np.float32]], dla: int | None
    ) -> tuple[NDArray[np.float32], float]:
        """Probabilities N x 1 x H x W, and the median milliseconds of one frame."""
        model = EngineInference(plan, card)
        try:
            found = np.stack([model.submit(t).result() for t in tensors])[:, None]
            return found, model.median_ms(tensors[0], RUNS)
        finally:
            model.close()


def _timing_cache(config: Any, path: Path) -> Any:
    """What earlier builds measured; nothing where the file is of another GPU or version."""
    known = config.create_timing_cache(path.read_bytes()) if path.is_file() else None
    if known is None or not config.set_timing_cache(known, False):
        known = config.create_timing_cache(b"")
        config.set_timing_cache(known, False)
    return known


def _keep(timings: Any, path: Path) -> None:
    """A plan is worth more than the time of the next build."""
    try:
        write_bytes(path, bytes(timings.serialize()))
    except UserError as error:
        log.warning("the timing cache is not kept: %s", error)
