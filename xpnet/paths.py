"""Folders and files of this repository, defined once."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
"""The repository."""
MODEL_REPOSITORY = ROOT / "triton_models"
"""The Triton model repository."""
BUNDLED_TRITON = ROOT / ".triton" / "pytriton" / "tritonserver"
"""Where scripts/setup.sh installs the Triton server on a machine that has none."""
DEMO_CLIP = ROOT / "docs" / "demo" / "colonoscopy.mp4"
"""The clip of `make demo`."""


def plan_path(model_dir: Path) -> Path:
    """Return the path of a model's TensorRT plan.

    Args:
        model_dir: The model's folder in a model repository.
    """
    return model_dir / "1" / "model.plan"


def onnx_path(model_dir: Path) -> Path:
    """Return the path of the ONNX file that Triton serves for a model.

    Args:
        model_dir: The model's folder in a model repository.
    """
    return model_dir / "1" / "model.onnx"


def card_path(model_dir: Path) -> Path:
    """Return the path of a model's card.

    Args:
        model_dir: The model's folder in a model repository.
    """
    return model_dir / "card.json"
