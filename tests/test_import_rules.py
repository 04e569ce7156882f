"""The import rules between packages, and imports without heavy packages."""

from __future__ import annotations

import ast
import subprocess
import sys

import pytest

from tests.conftest import ROOT

FORBIDDEN = {
    "xpnet": {"training", "deepstream"},
    "training": {"deepstream"},
    "deepstream": {"training"},
    "triton_models": {"training", "deepstream"},
}
HEAVY = (
    "torch",
    "gi",
    "pyds",
    "tritonclient",
    "onnxruntime",
    "tensorrt",
    "albumentations",
    "ray",
    "pyarrow",
)


@pytest.mark.parametrize("package", FORBIDDEN)
def test_packages_follow_the_import_rules(package: str) -> None:
    for path in (ROOT / package).rglob("*.py"):
        if path.parent == ROOT / "xpnet" / "commands":
            continue  # a command imports its package when it runs
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            roots = {name.split(".")[0] for name in names}
            assert not roots & FORBIDDEN[package], f"{path} imports {roots}"


def test_core_and_command_line_import_nothing_heavy() -> None:
    names = ("card", "frames", "overlay", "polyps", "inference", "cli", "host.installation")
    modules = ", ".join(f"xpnet.{name}" for name in names)
    code = f"import {modules}, sys; print(*[m for m in {HEAVY!r} if m in sys.modules])"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == ""


def test_evaluation_needs_no_torch() -> None:
    modules = "training.evaluation.scoring, training.evaluation.panel, training.data.pairs"
    code = f"import {modules}, sys; print('torch' in sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "False"
