"""Folders and files of this project, defined once, for a checkout and for an installed wheel."""

from __future__ import annotations

from pathlib import Path

PACKAGES = Path(__file__).resolve().parents[1]
"""The folder of the packages: the checkout, or site-packages."""
IN_CHECKOUT = not (PACKAGES / "xpnet" / "files").is_dir()
"""Whether the code runs from a checkout, not from an installed wheel."""
ROOT = PACKAGES if IN_CHECKOUT else PACKAGES / "xpnet" / "files"
"""The repository; in a wheel its files that are no code, copied by setup.py."""
BUILD = ROOT / "build" if IN_CHECKOUT else Path("build")
"""Where commands write by default; an installation is not written to."""
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


def setup_command(extra: str = "") -> str:
    """Return the command that installs missing packages.

    Args:
        extra: A group of packages, such as "train"; empty for those of `xpnet run`.
    """
    if IN_CHECKOUT:
        return f"scripts/setup.sh --{extra}" if extra else "scripts/setup.sh"
    return f"pip install 'xpnet[{extra}]'" if extra else "pip install xpnet"


def server_command() -> str:
    """Return how to get a Triton server; a wheel contains none."""
    if IN_CHECKOUT:
        return "run scripts/setup.sh"
    return "put NVIDIA's tritonserver on PATH, or run with --backend onnxruntime"
