"""A folder of recordings that are no videos, for what needs only their names."""

from __future__ import annotations

from pathlib import Path

import pytest

FILES = ("a.mp4", "2026/b.MKV", "2026/.c.mp4.part", "2026/._b.MKV", ".trash/d.mp4", "notes.txt")


@pytest.fixture
def recordings(tmp_path: Path) -> Path:
    folder = tmp_path / "recordings"
    for size, name in enumerate(FILES, 1):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * size)
    return folder
