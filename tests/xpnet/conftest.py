"""Fixtures that put fake programs first on PATH, for tests on machines without an NVIDIA GPU."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

NVIDIA_SMI = """#!/bin/sh
printf '%s\\n' "RTX 3070, 595.1, GPU-1"
"""
"""Prints name, driver version and UUID of one GPU."""


@pytest.fixture
def bin_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty folder that is first on PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)
    return folder


def write_executable(path: Path, text: str) -> None:
    """Write a file that can be executed."""
    path.write_text(text)
    path.chmod(0o755)


@pytest.fixture
def nvidia_smi(bin_dir: Path) -> None:
    """Install a fake nvidia-smi that reports one RTX 3070."""
    write_executable(bin_dir / "nvidia-smi", NVIDIA_SMI)
