"""Runtimes for ONNX files on a CPU: ONNX Runtime, and OpenVINO where it is faster.

The Triton backend, inference in process and `xpnet bench network` all use this module, so that the
served computation is the one that was scored and timed.
"""

from __future__ import annotations

import functools
import re
import sys
from importlib import util
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from xpnet.checksums import check_file
from xpnet.errors import UserError, not_installed
from xpnet.host.cpu import cpu_flags
from xpnet.paths import IN_CHECKOUT, setup_command

RUNTIMES = ("onnxruntime", "openvino")
AUTO = "auto"
"""Selects the runtime that `best_runtime` returns."""
BF16_FLAGS = ("avx512_bf16", "amx_bf16")
HINT = setup_command()
OPENVINO_HINT = HINT if IN_CHECKOUT else setup_command("openvino")
FATAL = 4
"""Severity of ONNX Runtime's log; nothing below it is printed."""
NOISE = (
    r"^\[ONNXRuntimeError\] : \d+ : \w+ : (Load model from .*? failed:)?"
    r"|/onnxruntime_src/\S+:\d+ [^(]*\(.*?\) (const )?"
)
"""Parts of ONNX Runtime's error messages that are removed: codes and source positions."""
Feeds = dict[str, NDArray[Any]]
"""Inputs by name; the first dimension of each is the batch."""


class CpuModel(Protocol):
    """A loaded ONNX file.

    Attributes:
        inputs: Names of the inputs.
        outputs: Names of the outputs.
        shapes: Shapes of inputs and outputs by name; -1 for a size that the file leaves open.
        metadata: The file's metadata by key.
    """

    inputs: list[str]
    outputs: list[str]
    shapes: dict[str, tuple[int, ...]]
    metadata: dict[str, str]

    def run(self, outputs: list[str], feeds: Feeds) -> list[NDArray[Any]]:
        """Return the named outputs, in their order. Raises whatever the runtime raises."""


def best_runtime() -> str:
    """Return `openvino` on a CPU with bfloat16, else `onnxruntime` (measured: docs/engines.md).

    In float32 neither is faster for all networks.
    """
    can = util.find_spec("openvino") is not None and computes_bf16()
    return "openvino" if can else "onnxruntime"


def computes_bf16() -> bool:
    """Return whether this CPU multiplies bfloat16, which OpenVINO then uses."""
    return any(flag in cpu_flags() for flag in BF16_FLAGS)


def open_model(
    path: Path, runtime: str = AUTO, threads: int = 0, precision: str | None = None
) -> CpuModel:
    """Load an ONNX file.

    Args: path: The file. runtime: `onnxruntime`, `openvino` or `auto`. threads: Number of threads;
        0 for one on each core. precision: `fp32` or `bf16` for what the graph holds in float32,
        OpenVINO only; None for bf16 if the CPU has it.

    Raises:
        UserError: An unknown runtime, one that is not installed, no such file, not a model, or a
            listed file that differs from its checksum.
    """
    runtime = best_runtime() if runtime == AUTO else runtime
    if runtime not in RUNTIMES:
        raise UserError(f"runtime '{runtime}': expected {AUTO} or one of {', '.join(RUNTIMES)}")
    if not path.is_file():
        raise UserError(f"{path}: no such ONNX file")
    check_file(path)
    if runtime == "openvino":
        return _OpenVino(path, threads, precision or ("bf16" if computes_bf16() else "fp32"))
    return _OnnxRuntime(path, threads)


class _OnnxRuntime:
    def __init__(self, path: Path, threads: int) -> None:
        try:
            import onnxruntime
        except ImportError as error:
            raise not_installed("onnxruntime", "inference on a CPU", HINT) from error
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        # Threads that wait actively take the cores from decoder, encoder and drawing.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        # Errors are raised as exceptions; do not print them as well
        options.log_severity_level = FATAL
        try:
            self._session = onnxruntime.InferenceSession(
                str(path), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # each of ONNX Runtime's codes has an exception class of its own
            reason = re.sub(NOISE, "", str(error))
            raise UserError(f"{path}: not a model that ONNX Runtime can load: {reason}") from error
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        self.inputs = [i.name for i in inputs]
        self.outputs = [o.name for o in outputs]
        self.shapes = {
            t.name: tuple(n if isinstance(n, int) else -1 for n in t.shape)
            for t in inputs + outputs
        }
        self.metadata = dict(self._session.get_modelmeta().custom_metadata_map)

    def run(self, outputs: list[str], feeds: Feeds) -> list[NDArray[Any]]:
        """See `CpuModel`."""
        return list(self._session.run(outputs, feeds))


class _OpenVino:
    """A model compiled for a batch of one; larger batches run frame by frame.

    On a CPU a batch saves nothing, and a graph with an open batch size runs slower.
    """

    def __init__(self, path: Path, threads: int, precision: str) -> None:
        core = _openvino_core()
        settings: dict[str, Any] = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": {"fp32": "f32", "bf16": "bf16"}[precision],
        }
        if threads:
            settings["INFERENCE_NUM_THREADS"] = threads
        try:
            model = core.read_model(str(path))
            tensors = [*model.inputs, *model.outputs]
            self.shapes = {t.get_any_name(): _sizes(t.get_partial_shape()) for t in tensors}
            model.reshape({i: _one_frame(i.get_partial_shape()) for i in model.inputs})
            compiled = core.compile_model(model, "CPU", settings)
        except Exception as error:  # OpenVINO raises RuntimeError for everything
            reason = str(error).strip().splitlines()[-1]
            raise UserError(f"{path}: not a model that OpenVINO can load: {reason}") from error
        self._request = compiled.create_infer_request()
        self.inputs = [i.get_any_name() for i in model.inputs]
        self.outputs = [o.get_any_name() for o in model.outputs]
        self.metadata = _metadata(model)

    def run(self, outputs: list[str], feeds: Feeds) -> list[NDArray[Any]]:
        """See `CpuModel`."""
        count = len(next(iter(feeds.values())))
        rows = []
        for i in range(count):
            found = self._request.infer({name: feed[i : i + 1] for name, feed in feeds.items()})
            rows.append([np.array(found[name]) for name in outputs])
        return [np.concatenate(parts) for parts in zip(*rows, strict=True)]


@functools.cache
def _openvino_core() -> Any:
    """Return the only openvino.Core of this process.

    Each Core sets the alternate signal stack of its thread, and restores the one before when it
    ends. After two ended in the order of their start, the stack is that of the first, whose memory
    is gone: the next signal ended the process with SIGSEGV (OpenVINO 2026.4).

    Raises:
        UserError: OpenVINO is not installed.
    """
    # Importing OpenVINO sends telemetry if its telemetry package is installed.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    try:
        import openvino
    except ImportError as error:
        raise not_installed("openvino", "this runtime", OPENVINO_HINT) from error
    return openvino.Core()


def _one_frame(shape: Any) -> list[int]:
    return [1, *(d.get_length() for d in list(shape)[1:])]


def _sizes(shape: Any) -> tuple[int, ...]:
    return tuple(d.get_length() if d.is_static else -1 for d in shape)


def _metadata(model: Any) -> dict[str, str]:
    if not model.has_rt_info(["framework"]):
        return {}
    found = model.get_rt_info(["framework"]).astype(dict)
    return {key: str(value.astype(str)) for key, value in found.items()}
