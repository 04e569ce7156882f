"""Build and run plans with TensorRT's Python API."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xpnet.card import Card, max_plan_batch
from xpnet.errors import UserError
from xpnet.files import write_bytes
from xpnet.tensorrt.engine_builder import build_engine
from xpnet.tensorrt.engine_inference import (
    EngineInference,
    import_tensorrt,
    require_cuda_runtime,
    require_polygraphy,
)

TIMED_RUNS = 100


class PythonApi:
    """`xpnet.tensorrt.plan_backend.PlanBackend` for TensorRT's Python module."""

    def __init__(self) -> None:
        """Import TensorRT and what is needed to run a plan.

        Raises:
            UserError: TensorRT, Polygraphy or the CUDA runtime is not installed, or the version
                of TensorRT is not supported.
        """
        self._trt = import_tensorrt()
        require_polygraphy()  # fail now, not after a build of several minutes
        require_cuda_runtime()
        self.version = str(self._trt.__version__)

    def describe_timing(self, dla: int | None) -> str:
        """Describe what the measured latency includes; see `PlanBackend`."""
        return "Python, copies included"

    def build(self, onnx: Path, card: Card, output: Path, dla: int | None, cache: Path) -> None:
        """Build a plan from an ONNX file; see `PlanBackend`.

        On the DLA, TensorRT 10 needs the builder flag FP16, which strongly typed networks do not
        allow. The network is then weakly typed, with the flags that NVIDIA's trtexec sets.
        TensorRT 11 has no such flag. Source: NVIDIA, Strongly Typed Networks for DLA, 11.4.1.
        """
        trt = self._trt
        needs_fp16_flag = dla is not None and self.version.startswith("10.")
        # A timing cache is only valid as long as the builder and config it was created with.
        keep_alive: list[Any] = []

        def configure(builder: Any, config: Any) -> None:
            keep_alive.extend((builder, config, _load_timing_cache(config, cache)))
            if dla is not None:
                if dla >= builder.num_DLA_cores:
                    raise UserError(
                        f"--dla {dla}: TensorRT {self.version} finds {builder.num_DLA_cores} DLA "
                        "cores on this machine"
                    )
                config.default_device_type = trt.DeviceType.DLA
                config.DLA_core = dla
                config.set_flag(trt.BuilderFlag.GPU_FALLBACK)
            if needs_fp16_flag:
                config.set_flag(trt.BuilderFlag.FP16)
                config.set_flag(trt.BuilderFlag.PREFER_PRECISION_CONSTRAINTS)

        engine = build_engine(
            trt,
            "TensorRT",
            onnx,
            configure,
            max_plan_batch(dla),
            strongly_typed=not needs_fp16_flag,
        )
        write_bytes(output, engine.content)
        cache.write_bytes(bytes(keep_alive[-1].serialize()))

    def run(
        self, plan: Path, card: Card, tensors: list[NDArray[np.float32]], dla: int | None
    ) -> tuple[NDArray[np.float32], float]:
        """Run a plan on some frames and time it; see `PlanBackend`."""
        inference = EngineInference(plan, replace(card, graph={**card.graph, "dla": dla}))
        try:
            probabilities = np.stack([inference.submit(t).result() for t in tensors])[:, None]
            return probabilities, inference.measure_median_ms(tensors[0], TIMED_RUNS)
        finally:
            inference.close()


def _load_timing_cache(config: Any, path: Path) -> Any:
    """Give `config` the timing cache of a file, or an empty one if TensorRT rejects the file.

    TensorRT rejects the cache of another GPU or of another version.
    """
    cache = config.create_timing_cache(path.read_bytes()) if path.is_file() else None
    if cache is None or not config.set_timing_cache(cache, False):
        cache = config.create_timing_cache(b"")
        config.set_timing_cache(cache, False)
    return cache
