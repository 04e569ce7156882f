"""A machine with an NVIDIA driver, as far as tests can have one: programs in its place on PATH."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

NVIDIA_SMI = """#!/bin/sh
printf '%s\\n' "RTX 3070, 595.1, GPU-1"
"""


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that stands first on PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)
    return folder


def write_program(path: Path, text: str) -> None:
    """A file that can be run."""
    path.write_text(text)
    path.chmod(0o755)


@pytest.fixture
def driver(programs: Path) -> None:
    """nvidia-smi, which names a GPU."""
    write_program(programs / "nvidia-smi", NVIDIA_SMI)
