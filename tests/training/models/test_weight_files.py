"""The commit in a card: of the checkout, stated, or unknown with a hint."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from training.models import weight_files


def test_commit_outside_a_checkout_is_unknown_until_it_is_stated(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(weight_files, "ROOT", tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    weight_files._unknown_commit.cache_clear()
    with caplog.at_level(logging.WARNING, "xpnet.training"):
        assert [weight_files.git_commit() for _ in range(3)] == ["unknown"] * 3
    assert len(caplog.records) == 1
    assert "XPNET_GIT_COMMIT=COMMIT" in caplog.text
    monkeypatch.setenv("XPNET_GIT_COMMIT", "abc123")
    assert weight_files.git_commit() == "abc123"
