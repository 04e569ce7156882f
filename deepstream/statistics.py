"""Statistics of a run, written by the probes and read at the end."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

MAX_SAMPLES = 100_000
"""Newest frames whose times are kept: more than an hour at 25 frames a second."""
MAX_PART_SAMPLES = 10_000
"""The same for the times of single parts."""
RECENT = 250
"""Newest frames that describe the state now: ten seconds at 25 frames a second."""


class TimeLog:
    """The newest times of a run, in seconds, in memory that does not grow.

    One thread appends; any thread may read.
    """

    def __init__(self, size: int = MAX_SAMPLES) -> None:
        self._values = np.zeros(size)
        self._count = 0

    def append(self, seconds: float) -> None:
        """Add a time; the oldest is forgotten."""
        self._values[self._count % len(self._values)] = seconds
        self._count += 1

    def newest(self, count: int = MAX_SAMPLES) -> NDArray[np.float64]:
        """Return a copy of the newest times, the oldest of them first.

        Args:
            count: Number of times, or fewer if there are fewer.
        """
        end = self._count
        count = min(count, end, len(self._values))
        return self._values[np.arange(end - count, end) % len(self._values)]

    def __len__(self) -> int:
        return min(self._count, len(self._values))

    def __iter__(self) -> Iterator[float]:
        return iter(self.newest().tolist())


@dataclass
class RunStatistics:
    """Counts and times of a run; the threads of the two probes write it.

    Times are in seconds, one entry for each of the newest MAX_SAMPLES frames.
    """

    frames: int = 0
    frames_in: int = 0  # that a live source delivered, without those that wait for the graph
    frames_lost: int = 0  # of these, dropped because the graph was slower
    frames_with_polyp: int = 0
    frames_without_mask: int = 0  # shown, but without a result of inference
    inference_failure: str = ""  # the first reason for a frame without a mask
    probe_error: str = ""  # the first exception in a probe
    probe_errors: int = 0
    assistant: str = "starting"  # ready, off, not available: what the newest frame shows
    region: tuple[float, float, float, float] = (0.0, 0.0, 1.0, 1.0)  # of the scope's picture
    recording_sign: str = ""  # what the picture says of the recording
    source_lost: bool = False  # a live source delivers no frames
    reconnects: int = 0  # times that it was lost
    first_frame_s: float = 0.0  # monotonic clock, at the overlay probe
    last_frame_s: float = 0.0
    last_timestamp_ns: int = 0
    # Monotonic clock, when each of the newest frames left the overlay
    shown_s: TimeLog = field(default_factory=lambda: TimeLog(RECENT))
    # Mode every: from submission to inference until drawn; latest: what drawing adds
    latency_s: TimeLog = field(default_factory=TimeLog)
    inference_s: TimeLog = field(default_factory=TimeLog)  # from request to result
    # From frame to tensor, from probability map to mask, and drawing
    preprocess_s: TimeLog = field(default_factory=lambda: TimeLog(MAX_PART_SAMPLES))
    mask_s: TimeLog = field(default_factory=lambda: TimeLog(MAX_PART_SAMPLES))
    overlay_s: TimeLog = field(default_factory=lambda: TimeLog(MAX_PART_SAMPLES))
    # Timestamp of the frame minus that of its mask
    mask_age_s: TimeLog = field(default_factory=TimeLog)
    lateness_s: TimeLog = field(default_factory=TimeLog)  # time shown minus time due

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
        newest = self.shown_s.newest()
        seconds = float(newest[-1] - newest[0]) if len(newest) else 0.0
        return (len(newest) - 1) / seconds if seconds > 0 else 0.0

    def summary(self) -> dict[str, Any]:
        """Return the statistics for JSON; times are percentiles in milliseconds, or None."""
        return {
            "frames": self.frames,
            "frames_in": self.frames_in,
            "frames_lost": self.frames_lost,
            "frames_with_polyp": self.frames_with_polyp,
            "frames_without_mask": self.frames_without_mask,
            "inference_failure": self.inference_failure,
            "probe_error": self.probe_error,
            "probe_errors": self.probe_errors,
            "reconnects": self.reconnects,
            "seconds": round(self.last_frame_s - self.first_frame_s, 3),
            "fps": round(self.fps, 2),
            "latency_ms": percentiles_ms(self.latency_s),
            "preprocess_ms": percentiles_ms(self.preprocess_s),
            "inference_ms": percentiles_ms(self.inference_s),
            "mask_ms": percentiles_ms(self.mask_s),
            "overlay_ms": percentiles_ms(self.overlay_s),
            "mask_age_ms": percentiles_ms(self.mask_age_s),
            "lateness_ms": percentiles_ms(self.lateness_s),
        }


def percentiles_ms(times: TimeLog, count: int = MAX_SAMPLES) -> dict[str, float] | None:
    """Return p50, p95 and p99 in milliseconds, or None without samples.

    Args:
        times: Times of a run.
        count: Of so many of the newest.
    """
    newest = times.newest(count)
    if not len(newest):
        return None
    values = np.percentile(newest * 1000, (50, 95, 99))
    return {name: round(float(v), 2) for name, v in zip(("p50", "p95", "p99"), values, strict=True)}
