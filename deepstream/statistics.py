"""Statistics of a run, written by the probes and read at the end."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

import numpy as np

MAX_SAMPLES = 20_000
"""Newest frames whose times are kept, so that memory does not grow during a long run."""


RECENT = 250
"""Newest frames that describe the state now: ten seconds at 25 frames a second."""


def _times() -> deque[float]:
    return deque(maxlen=MAX_SAMPLES)


@dataclass
class RunStatistics:
    """Counts and times of a run; the threads of the two probes write it.

    Times are in seconds, one entry for each of the newest MAX_SAMPLES frames.
    """

    frames: int = 0
    frames_with_polyp: int = 0
    frames_without_mask: int = 0  # shown, but without a result of inference
    inference_failure: str = ""  # the first reason for a frame without a mask
    probe_error: str = ""  # the first exception in a probe
    probe_errors: int = 0
    assistant: str = "starting"  # ready, off, not available: what the newest frame shows
    source_lost: bool = False  # a live source delivers no frames
    reconnects: int = 0  # times that it was lost
    first_frame_s: float = 0.0  # monotonic clock, at the overlay probe
    last_frame_s: float = 0.0
    last_timestamp_ns: int = 0
    shown_s: deque[float] = field(
        default_factory=lambda: deque(maxlen=RECENT)
    )  # monotonic clock, when each of the newest frames left the overlay
    latency_s: deque[float] = field(
        default_factory=_times
    )  # from submission to inference until drawn
    inference_s: deque[float] = field(default_factory=_times)  # from request to result
    mask_age_s: deque[float] = field(
        default_factory=_times
    )  # timestamp of the frame minus that of its mask
    lateness_s: deque[float] = field(default_factory=_times)  # time shown minus time due

    def inference_failed(self, error: BaseException) -> None:
        """Record why inference failed; only the first reason is kept."""
        self.inference_failure = self.inference_failure or " ".join(str(error).split())

    def probe_failed(self, error: BaseException) -> None:
        """Count an exception in a probe; only the first is kept."""
        self.probe_error = self.probe_error or f"{type(error).__name__}: {error}"
        self.probe_errors += 1

    def frame_drawn(self, now_s: float, timestamp_ns: int | None) -> None:
        """Count one frame that left the overlay."""
        if self.frames == 0:
            self.first_frame_s = now_s
        self.frames += 1
        self.last_frame_s = now_s
        self.shown_s.append(now_s)
        self.last_timestamp_ns = max(self.last_timestamp_ns, timestamp_ns or 0)

    @property
    def fps(self) -> float:
        """Frames per second from the first frame drawn to the last one."""
        seconds = self.last_frame_s - self.first_frame_s
        return (self.frames - 1) / seconds if seconds > 0 else 0.0

    @property
    def recent_fps(self) -> float:
        """Frames per second over the newest frames."""
        newest = newest_times(self.shown_s)
        seconds = newest[-1] - newest[0] if newest else 0.0
        return (len(newest) - 1) / seconds if seconds > 0 else 0.0

    def summary(self) -> dict[str, Any]:
        """Return the statistics for JSON; times are percentiles in milliseconds, or None."""
        return {
            "frames": self.frames,
            "frames_with_polyp": self.frames_with_polyp,
            "frames_without_mask": self.frames_without_mask,
            "inference_failure": self.inference_failure,
            "probe_error": self.probe_error,
            "probe_errors": self.probe_errors,
            "reconnects": self.reconnects,
            "seconds": round(self.last_frame_s - self.first_frame_s, 3),
            "fps": round(self.fps, 2),
            "latency_ms": percentiles_ms(self.latency_s),
            "inference_ms": percentiles_ms(self.inference_s),
            "mask_age_ms": percentiles_ms(self.mask_age_s),
            "lateness_ms": percentiles_ms(self.lateness_s),
        }


def newest_times(times: deque[float]) -> list[float]:
    """Return a copy of the newest times, while another thread may add some.

    Args:
        times: Times of a run.
    """
    while True:
        try:
            return list(times)[-RECENT:]
        except RuntimeError:  # it grew while it was copied
            continue


def percentiles_ms(seconds: Collection[float]) -> dict[str, float] | None:
    """Return p50, p95 and p99 in milliseconds, or None without samples."""
    if not seconds:
        return None
    values = np.percentile(np.asarray(list(seconds)) * 1000, (50, 95, 99))
    return {name: round(float(v), 2) for name, v in zip(("p50", "p95", "p99"), values, strict=True)}
