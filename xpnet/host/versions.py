"""`xpnet doctor info`: versions and model cards, for a bug report or a script."""

from __future__ import annotations

import json
import platform
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from xpnet import __version__
from xpnet.card import read_card
from xpnet.errors import UserError
from xpnet.paths import BUNDLED_TRITON
from xpnet.serving.triton_server import find_tritonserver

PACKAGES = (
    "numpy",
    "opencv-python-headless",
    "onnxruntime",
    "openvino",
    "tritonclient",
    "torch",
    "onnx",
    "albumentations",
    "tensorrt",
    "pyds",
)


def versions() -> dict[str, str | None]:
    """Return the versions of XP-Net, Python, PACKAGES and the server; None if not installed."""
    found: dict[str, str | None] = {"xpnet": __version__, "python": platform.python_version()}
    return {**found, **package_versions(PACKAGES), "tritonserver": _tritonserver()}


def package_versions(names: Sequence[str]) -> dict[str, str | None]:
    """Return the versions of packages; None if not installed.

    Args:
        names: Names of the packages.
    """
    found: dict[str, str | None] = {}
    for name in names:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = None
    return found


def _tritonserver() -> str | None:
    """Return the package of the bundled server, or the path of NVIDIA's server."""
    try:
        binary, _ = find_tritonserver()
    except UserError:
        return None
    stamp = BUNDLED_TRITON.parents[1] / "installed"  # by scripts/setup.sh
    if binary.is_relative_to(BUNDLED_TRITON) and stamp.is_file():
        return f"of {stamp.read_text(encoding='utf-8').split()[0]}"
    return str(binary)


def cards(repository: Path) -> dict[str, Any]:
    """Return the card of every model in a repository as JSON values, or the error of a broken one.

    Args:
        repository: The Triton model repository.
    """
    found: dict[str, Any] = {}
    for path in sorted(repository.glob("*/card.json")):
        try:
            found[path.parent.name] = json.loads(read_card(path).to_json())
        except UserError as error:
            found[path.parent.name] = {"error": str(error)}
    return found


def as_lines(info: dict[str, Any]) -> list[str]:
    """Return the information as lines for a person."""
    lines = [f"{name:<24}{version or '-'}" for name, version in info["versions"].items()]
    for name, row in (info["networks"] or {}).items():
        lines.append(
            f"{name:<24}{row['parameters']:,} parameters, "
            f"{row['multiply_adds'] / 1e9:.2f} G multiply-adds at {row['size']} pixels"
        )
    if info["networks"] is None:
        lines.append("networks                not counted: torch is not installed")
    for name, card in info["models"].items():
        lines.append(f"{name:<24}{_model_line(card)}")
    return lines


def _model_line(card: dict[str, Any]) -> str:
    if "error" in card:
        return str(card["error"])
    scores = ", ".join(f"{k} dice {v['dice']:.3f}" for k, v in card["scores"].items())
    height, width = card["input"]["shape"][2:]
    return f"{card['network']} at {width} x {height}: {scores or 'not scored'}"
