"""TensorRT by its Python module: builds a plan, and runs it through xpnet.tensorrt.engine_inference."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xpnet.card import Card, most_frames
from xpnet.errors import UserError
from xpnet.files import write_bytes
from xpnet.tensorrt.engine_inference import (
    EngineInference,
    require_cuda_runtime,
    require_polygraphy,
    tensorrt,
)
from xpnet.tensorrt.network_definition import build

RUNS = 100


class PythonApi:
    """See xpnet.tensorrt.plan_builder.Tool.

    Raises:
        UserError: TensorRT's module, Polygraphy or CUDA's runtime is not installed, or TensorRT
            is of a wrong version.
    """

    def __init__(self) -> None:
        self._trt = tensorrt()
        require_polygraphy()  # before minutes of building, not after
        require_cuda_runtime()
        self.version = str(self._trt.__version__)

    def times(self, dla: int | None) -> str:
        """See xpnet.tensorrt.plan_builder.Tool."""
        return "Python, copies included"

    def build(self, onnx: Path, card: Card, output: Path, dla: int | None, cache: Path) -> None:
        """Writes the plan of an ONNX file.

        The accelerator of TensorRT 10 takes FP16 by a builder flag, which a strongly typed network
        refuses; so NVIDIA's trtexec sets these flags for it. TensorRT 11 has neither (NVIDIA,
        Strongly Typed Networks for DLA, 11.4.1).
        """
        trt = self._trt
        by_flag = dla is not None and self.version.startswith("10.")
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
            if by_flag:
                config.set_flag(trt.BuilderFlag.FP16)
                config.set_flag(trt.BuilderFlag.PREFER_PRECISION_CONSTRAINTS)

        engine = build(trt, "TensorRT", onnx, configure, most_frames(dla), not by_flag)
        write_bytes(output, engine.content)
        cache.write_bytes(bytes(alive[-1].serialize()))

    def run(
        self, plan: Path, card: Card, tensors: list[NDArray[np.float32]], dla: int | None
    ) -> tuple[NDArray[np.float32], float]:
        """Probabilities N x 1 x H x W, and the median milliseconds of one frame."""
        model = EngineInference(plan, replace(card, graph={**card.graph, "dla": dla}))
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
