"""A live source that delivers nothing for a while, and what the video must show meanwhile."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deepstream.gstreamer import Gst
from deepstream.io.held_frame import LOST_S, STEP_S
from deepstream.io.live_source import LiveSource
from tests.conftest import video_frames
from tests.integration.signs import shows
from xpnet.signs import NO_SIGNAL

BEFORE = 25
"""Frames that are delivered before the pause."""
PAUSE_S = 2.0


def pausing_source(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Let the source of the next run pause, as when a cable is loose; return the arrival times.

    The frames of a clip that were due meanwhile arrive at once after it.
    """
    times: list[float] = []
    arrivals = LiveSource._on_arrival

    def hold(self: LiveSource, pad: Any, info: Any) -> Any:
        if info.type & Gst.PadProbeType.BUFFER:
            if len(times) == BEFORE:
                time.sleep(PAUSE_S)
            times.append(time.monotonic())
        return arrivals(self, pad, info)

    monkeypatch.setattr(LiveSource, "_on_arrival", hold)
    return times


def check_notices(video: Path, times: list[float], fewest: int) -> None:
    """Check that a video shows the last frame with a notice during the pause, and no longer.

    Args:
        video: The output of the run.
        times: The result of `pausing_source`.
        fewest: Number of repetitions below which the check fails.
    """
    frames = video_frames(video)
    notices = [shows(frame, NO_SIGNAL) for frame in frames]
    first = notices.index(True)
    last = len(notices) - 1 - notices[::-1].index(True)
    # From LOST_S after the last frame to the end of the pause, which a busy machine makes longer.
    pause = times[BEFORE] - times[BEFORE - 1]
    assert fewest <= last - first + 1 <= (pause - LOST_S) / STEP_S + 8
    still = [np.abs(frames[n].astype(int) - frames[first])[60:].mean() for n in (first + 4, last)]
    assert max(still) < 2  # the same picture
    assert all(notices[first : last + 1])
    assert last < len(frames) - 3  # the notice is gone when frames arrive again
