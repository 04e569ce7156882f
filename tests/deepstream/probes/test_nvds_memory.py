"""Memory of the DeepStream probe stays constant over many frames."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.conftest import ROOT

pytestmark = pytest.mark.integration

MAY_GROW = 20
"""Bytes per frame; the smallest leak, a label's text, takes 32."""
FRAMES, FEWER = 100_000, 20_000


def played(case: str, frames: int) -> dict[str, float]:
    """Return the counts of a separate process: see tests/deepstream/nvds/leaks.py."""
    command = [sys.executable, "-m", "tests.deepstream.nvds.leaks", case, str(frames)]
    result = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    counted: dict[str, float] = json.loads(result.stdout.splitlines()[-1])
    assert counted["frames"] == frames + frames // 4
    return counted


@pytest.mark.parametrize("case", ["masks", "no masks"])
def test_memory_stays_constant_over_many_frames(case: str) -> None:
    counted = played(case, FRAMES)
    assert counted["frames_with_polyp"] == (counted["frames"] if case == "masks" else 0)
    assert (counted["probe_errors"], counted["frames_without_mask"]) == (0, 0)
    assert counted["grown"] < MAY_GROW, counted


def test_tensors_leave_memory_constant() -> None:
    counted = played("tensors", FEWER)
    assert counted["frames_with_polyp"] == counted["frames"]
    assert counted["grown"] < MAY_GROW, counted


def test_failures_leave_memory_constant() -> None:
    counted = played("mistakes", FEWER)
    assert counted["probe_errors"] == counted["frames"]
    assert counted["grown"] < MAY_GROW, counted


def test_smallest_leak_is_detected() -> None:
    assert played("leak", FEWER)["grown"] >= MAY_GROW
