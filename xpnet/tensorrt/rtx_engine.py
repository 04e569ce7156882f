"""Build TensorRT-RTX engines ahead of time: for a given GPU architecture, without a GPU or driver.

The TensorRT-RTX runtime of a laptop runs them (xpnet.tensorrt.engine_inference). Triton's tensorrt
backend does not: it needs TensorRT plans (xpnet.tensorrt.plan_builder).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from xpnet.card import MAX_BATCH, Card, parse_card
from xpnet.errors import UserError, not_installed
from xpnet.files import check_writable, write_bytes, write_text
from xpnet.tensorrt.engine_builder import build_engine

COMPUTE_CAPABILITIES = {
    75: "Turing: RTX 20 laptops",
    80: "Ampere: A100",
    86: "Ampere: RTX 30 laptops",
    89: "Ada: RTX 40 laptops",
    120: "Blackwell: RTX 50 laptops",
}
"""Supported compute capabilities times ten, with their GPU architecture."""
INSTALL_COMMAND = "scripts/setup.sh --engines"


def build_ahead_of_time(onnx: Path, output: Path, sm: int) -> dict[str, Any]:
    """Build an engine from an exported ONNX file, and write it with a summary beside it.

    Args:
        onnx: ONNX file of `xpnet export`.
        output: The engine file. The summary goes to `summary_path(output)`.
        sm: Compute capability times ten, for example 86 for 8.6.

    Returns:
        The summary: versions, sizes, layers by type, convolutions by data type, and the card.

    Raises:
        UserError: The architecture is unknown, TensorRT-RTX is not installed, `output` cannot be
            written, or see `xpnet.tensorrt.engine_builder.build_engine`.
    """
    if sm not in COMPUTE_CAPABILITIES:
        known = ", ".join(f"{number} ({name})" for number, name in COMPUTE_CAPABILITIES.items())
        raise UserError(f"--sm {sm}: expected one of {known}")
    check_writable(output)
    trt = import_tensorrt_rtx()

    def configure(_builder: Any, config: Any) -> None:
        config.num_compute_capabilities = 1
        config.set_compute_capability(getattr(trt.ComputeCapability, f"SM{sm}"), 0)

    engine = build_engine(trt, "TensorRT-RTX", onnx, configure)
    summary = {
        "tensorrt_rtx": trt.__version__,
        "architecture": f"SM{sm}",
        "onnx": onnx.name,
        "precision": engine.card.graph.get("precision", "fp32"),
        "engine_bytes": len(engine.content),
        "batch": [1, MAX_BATCH],
        **engine.layers,
        "card": json.loads(engine.card.to_json()),
    }
    write_bytes(output, engine.content)
    write_text(summary_path(output), json.dumps(summary, indent=2) + "\n")
    return summary


def summary_path(engine: Path) -> Path:
    """Return the path of the summary of an engine file."""
    return engine.with_name(f"{engine.name}.json")


def read_summary(engine: Path) -> tuple[Card, str]:
    """Read the summary of an engine file.

    Args:
        engine: The engine file.

    Returns:
        The card of the engine, and the version of TensorRT-RTX that built it.

    Raises:
        UserError: The summary is missing or invalid.
    """
    path = summary_path(engine)
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        return parse_card(json.dumps(raw["card"]), str(path)), str(raw["tensorrt_rtx"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{path}: expected the summary that `xpnet build` writes beside an engine: {error}"
        ) from error


def import_tensorrt_rtx() -> Any:
    """Import TensorRT-RTX's Python module.

    Raises:
        UserError: It is not installed.
    """
    try:
        import tensorrt_rtx_bindings
    except ImportError as error:
        raise not_installed("TensorRT-RTX", "this engine", INSTALL_COMMAND) from error
    return tensorrt_rtx_bindings
