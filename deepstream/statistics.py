"""What a run measured: filled by the probes, read once at the end."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

import numpy as np

KEPT = 20_000
"""Frames whose times are kept, the newest: a graph that runs all day must not grow."""


def _times() -> deque[float]:
    return deque(maxlen=KEPT)


@dataclass
class RunStatistics:
    """Times in seconds, one entry for each of the newest KEPT frames.

    Written by the threads of the two probes.
    """

    frames: int = 0
    frames_with_polyp: int = 0
    frames_without_mask: int = 0  # shown, but no inference answered for them
    inference_failure: str = ""  # the first reason why one had none
    probe_error: str = ""  # the first mistake of the program itself
    probe_errors: int = 0
    first_frame_s: float = 0.0  # monotonic clock, at the overlay probe
    last_frame_s: float = 0.0
    last_timestamp_ns: int = 0
    latency_s: deque[float] = field(default_factory=_times)  # into inference until drawn
    inference_s: deque[float] = field(default_factory=_times)  # request until answer
    mask_age_s: deque[float] = field(default_factory=_times)  # frame shown minus frame of its mask
    lateness_s: deque[float] = field(default_factory=_times)  # shown minus when its clip wants it

    def inference_failed(self, error: BaseException) -> None:
        """Keeps the first reason; the later ones follow from it."""
        self.inference_failure = self.inference_failure or " ".join(str(error).split())

    def probe_failed(self, error: BaseException) -> None:
        """Counts a mistake in a probe and keeps the first."""
        self.probe_error = self.probe_error or f"{type(error).__name__}: {error}"
        self.probe_errors += 1

    def frame_drawn(self, now_s: float, timestamp_ns: int | None) -> None:
        """Counts one frame that left the overlay."""
        if self.frames == 0:
            self.first_frame_s = now_s
        self.frames += 1
        self.last_frame_s = now_s
        self.last_timestamp_ns = max(self.last_timestamp_ns, timestamp_ns or 0)

    @property
    def frames_a_second(self) -> float:
        """Over the time from the first frame drawn to the last one."""
        seconds = self.last_frame_s - self.first_frame_s
        return (self.frames - 1) / seconds if seconds > 0 else 0.0

    def summary(self) -> dict[str, Any]:
        """The figures of the run; times in milliseconds, percentiles None where nothing counts."""
        return {
            "frames": self.frames,
            "frames_with_polyp": self.frames_with_polyp,
            "frames_without_mask": self.frames_without_mask,
            "inference_failure": self.inference_failure,
            "probe_error": self.probe_error,
            "probe_errors": self.probe_errors,
            "seconds": round(self.last_frame_s - self.first_frame_s, 3),
            "fps": round(self.frames_a_second, 2),
            "latency_ms": percentiles_ms(self.latency_s),
            "inference_ms": percentiles_ms(self.inference_s),
            "mask_age_ms": percentiles_ms(self.mask_age_s),
            "lateness_ms": percentiles_ms(self.lateness_s),
        }


def percentiles_ms(seconds: Collection[float]) -> dict[str, float] | None:
    """p50, p95 and p99 in milliseconds; None where there are none."""
    if not seconds:
        return None
    values = np.percentile(np.asarray(list(seconds)) * 1000, (50, 95, 99))
    return {name: round(float(v), 2) for name, v in zip(("p50", "p95", "p99"), values, strict=True)}
