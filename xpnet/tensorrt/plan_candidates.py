"""The ONNX files that a model's plan can be built from: one for each precision."""

from __future__ import annotations

from pathlib import Path

from xpnet.card import Card
from xpnet.errors import UserError
from xpnet.paths import onnx_path
from xpnet.tensorrt.engine_builder import read_onnx_card

PRECISIONS = ("fp32", "fp16", "int8")


def candidate_path(model_dir: Path, precision: str) -> Path:
    """Return the path of the ONNX file for a model's plan of one precision.

    Args:
        model_dir: Folder of the TensorRT model in a model repository.
        precision: One of `PRECISIONS`.

    Raises:
        UserError: The precision is unknown.
    """
    if precision not in PRECISIONS:
        raise UserError(f"--precision {precision}: expected one of {', '.join(PRECISIONS)}")
    if precision == "fp32":
        return onnx_path(model_dir.with_name(f"{model_dir.name}_onnx"))
    return model_dir / "onnx" / f"{precision}.onnx"


def read_candidate(onnx: Path, served: Card, dla: int | None) -> Card:
    """Read the card of a candidate, and check that a plan of it can replace the served model.

    Args:
        onnx: ONNX file of `xpnet export`.
        served: Card of the model in the repository.
        dla: DLA core that the plan is built for; None for the GPU.

    Returns:
        The card of the ONNX file.

    Raises:
        UserError: The file is not from `xpnet export`; model, input size, weights, threshold
            or peak differ from the served model's; or TensorRT or the DLA does not support its
            precision.
    """
    card = read_onnx_card(onnx)
    if (card.name, card.input, card.output) != (served.name, served.input, served.output):
        raise UserError(
            f"{onnx}: model {card.name} at {card.input.height} x {card.input.width}, but the "
            f"repository serves {served.name} at {served.input.height} x {served.input.width}: "
            "run `xpnet export --precision` on a machine with PyTorch"
        )
    cuts = [(c.threshold, c.peak) for c in (card, served)]
    if not card.same_weights(served) or cuts[0] != cuts[1]:
        raise UserError(
            f"{onnx}: weights, threshold or peak differ from those of {served.name} in the "
            "repository"
        )
    precision = card.graph.get("precision", "fp32")
    if precision not in PRECISIONS:
        raise UserError(f"{onnx}: precision {precision}, TensorRT needs {', '.join(PRECISIONS)}")
    if dla is not None and precision != "fp16":  # the DLA has INT8, but not with Q/DQ layers
        raise UserError(f"{onnx}: precision {precision}, the DLA needs fp16")
    return card
