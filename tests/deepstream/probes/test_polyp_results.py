"""Polyps of frames: repeated masks, gaps, and failed writes."""

from __future__ import annotations

import io
import json
from typing import Any

import numpy as np
import pytest

from deepstream.probes.polyp_results import PolypResults
from xpnet.frames import Segmentation
from xpnet.polyps import CONFIRM_FRAMES, MAX_LOST_S

pytestmark = pytest.mark.integration

FRAME_NS = 40_000_000


def mask(timestamp_ns: int | None = 0) -> Segmentation:
    found = np.zeros((90, 120), np.uint8)
    found[20:60, 30:80] = 1
    return Segmentation(found, timestamp_ns)


def ids(results: PolypResults, shown: list[Segmentation | None]) -> list[Any]:
    reported = [results.frame(s, number * FRAME_NS, None) for number, s in enumerate(shown)]
    return [None if polyps is None else [p.id for p in polyps] for polyps in reported]


def test_repeated_mask_is_tracked_once() -> None:
    """Mode `latest` repeats the newest mask: a false one must not confirm itself."""
    one = mask()
    assert ids(PolypResults(), [one] * 10) == [[None]] * 10
    several = [mask(number * FRAME_NS) for number in range(CONFIRM_FRAMES)]
    twice = [s for s in several for _ in range(2)]
    assert ids(PolypResults(), twice) == [[None]] * (2 * CONFIRM_FRAMES - 2) + [[1]] * 2


def test_a_repeated_mask_has_the_time_of_its_own_frame() -> None:
    results = PolypResults()
    assert ids(results, [mask(n * FRAME_NS) for n in range(CONFIRM_FRAMES)])[-1] == [1]
    late = CONFIRM_FRAMES * FRAME_NS + round((MAX_LOST_S + 0.1) * 1e9)
    # Shown late, but of a frame that followed at once: the polyp was always seen.
    shown = results.frame(mask(CONFIRM_FRAMES * FRAME_NS), late, late)
    assert shown is not None
    assert shown[0].id == 1


def test_frame_without_mask_interrupts_confirmation() -> None:
    gaps = [mask(0), mask(FRAME_NS), None, mask(3 * FRAME_NS), None, mask(5 * FRAME_NS)]
    assert ids(PolypResults(), gaps) == [[None], [None], None, [None], None, [None]]


def test_tracks_expire_by_the_clock_without_timestamps(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("deepstream.probes.polyp_results.time.monotonic", lambda: now[0])
    results = PolypResults()

    def seen() -> int | None:
        now[0] += 0.04
        polyps = results.frame(mask(None), None, None)
        assert polyps is not None
        return polyps[0].id

    assert [seen() for _ in range(CONFIRM_FRAMES)][-1] == 1
    now[0] += MAX_LOST_S / 2
    assert seen() == 1
    now[0] += 2 * MAX_LOST_S
    assert [seen() for _ in range(CONFIRM_FRAMES)] == [None] * (CONFIRM_FRAMES - 1) + [2]


class FullDisk(io.StringIO):
    def write(self, _text: str) -> int:
        raise OSError(28, "No space left on device")


def test_failed_writes_are_counted_and_lose_no_polyp() -> None:
    def broken(*_: Any) -> None:
        raise ValueError("a mistake of the caller")

    reported: list[Any] = []
    results = PolypResults(FullDisk(), lambda *arguments: reported.append(arguments))
    assert ids(results, [mask(n * FRAME_NS) for n in range(3)])[-1] == [1]
    assert (results.errors, results.error) == (3, "OSError: [Errno 28] No space left on device")
    assert len(reported) == 3
    stream = io.StringIO()
    results = PolypResults(stream, broken)
    assert ids(results, [mask(n * FRAME_NS) for n in range(3)])[-1] == [1]
    assert (results.errors, results.error) == (3, "ValueError: a mistake of the caller")
    assert [json.loads(line)["frame"] for line in stream.getvalue().splitlines()] == [0, 1, 2]
