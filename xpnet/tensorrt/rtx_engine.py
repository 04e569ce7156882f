"""TensorRT-RTX engines, built ahead of time for a named architecture, without a GPU or a driver.

Such an engine is for the TensorRT-RTX runtime of a laptop (xpnet.tensorrt.engine_inference); Triton's tensorrt
backend takes plans of TensorRT itself (xpnet.tensorrt.plan_builder).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from xpnet.card import MAX_BATCH, Card, parse_card
from xpnet.errors import UserError, require
from xpnet.files import check_writable, write_bytes, write_text
from xpnet.tensorrt.network_definition import build

ARCHITECTURES = {
    75: "Turing: RTX 20 laptops",
    80: "Ampere: A100",
    86: "Ampere: RTX 30 laptops",
    89: "Ada: RTX 40 laptops",
    120: "Blackwell: RTX 50 laptops",
}
HINT = "scripts/setup.sh --engines"


def build_ahead_of_time(onnx: Path, output: Path, sm: int) -> dict[str, Any]:
    """Builds an engine for compute capability `sm` (86 for 8.6) from an exported ONNX file.

    Writes `output` and a summary, `output`.json: sizes, layers by type and by the type of what they
    compute, and the card. Returns the summary.

    Raises:
        UserError: an unknown architecture, TensorRT-RTX is missing, `output` cannot be written, or
            as xpnet.tensorrt.network_definition.build.
    """
    if sm not in ARCHITECTURES:
        known = ", ".join(f"{number} ({what})" for number, what in ARCHITECTURES.items())
        raise UserError(f"--sm {sm}: expected one of {known}")
    check_writable(output)
    trt = bindings()

    def configure(_builder: Any, config: Any) -> None:
        config.num_compute_capabilities = 1
        config.set_compute_capability(getattr(trt.ComputeCapability, f"SM{sm}"), 0)

    engine = build(trt, "TensorRT-RTX", onnx, configure)
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
    write_text(summary_of(output), json.dumps(summary, indent=2) + "\n")
    return summary


def summary_of(engine: Path) -> Path:
    """The file beside an engine that says what it is."""
    return engine.with_name(f"{engine.name}.json")


def read_summary(engine: Path) -> tuple[Card, str]:
    """The card of an engine and the version of TensorRT-RTX that built it.

    Raises:
        UserError: the summary is missing or broken.
    """
    path = summary_of(engine)
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        return parse_card(json.dumps(raw["card"]), str(path)), str(raw["tensorrt_rtx"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{path}: not the summary of an engine of `xpnet build`: {error}"
        ) from error


def bindings() -> Any:
    """The module. Raises UserError where it is not installed."""
    try:
        import tensorrt_rtx_bindings
    except ImportError as error:
        raise require("TensorRT-RTX", "this engine", HINT) from error
    return tensorrt_rtx_bindings
