"""The state of a run: as JSON for the page and for scripts, and as Prometheus metrics."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from deepstream.control.controls import Controls
from deepstream.recording.recorder import Recorder
from deepstream.statistics import RECENT, RunStatistics, percentiles_ms
from xpnet.host.load import CpuLoad, gpu_load
from xpnet.host.processes import resident_bytes

ALIVE_S = 2.0
"""A run whose last frame is older is not healthy."""
COUNTERS = {
    "frames": "Frames shown.",
    "frames_in": "Frames that a live source delivered, without those that wait for the graph.",
    "frames_lost": "Frames of a live source that were dropped because the graph was slower.",
    "frames_with_polyp": "Frames with a mask of a polyp.",
    "frames_without_mask": "Frames shown without a result of inference.",
    "probe_errors": "Exceptions in probes.",
    "reconnects": "Times that a live source was lost.",
    "server_outages": "Times that inference stopped answering.",
    "server_restarts": "Times that the inference server was started again.",
}
"""Help text of the counters, by their name in the state."""
GAUGES = {
    "fps": "Frames shown a second, over the newest frames.",
    "last_frame_age_seconds": "Seconds since the last frame was shown.",
    "assistant_ready": "1 if the picture shows recent masks.",
    "source_connected": "1 if the source delivers frames.",
    "resident_memory_bytes": "Memory of this process.",
    "cpu_seconds": "Processor time of this process.",
    "cpu_load": "Share of the machine's processor time that is used, since the last request.",
    "gpu_load": "Share of time in which the GPU works; only where the machine tells it.",
}
RECORDER = {
    "recording": ("gauge", "1 if a recording runs."),
    "failures": ("counter", "Recordings that ended by a failure."),
    "frames_left_out": ("counter", "Frames that encoder or disk were too slow for."),
    "disk_free_bytes": ("gauge", "Free space of the disk with the recordings."),
}
"""Type and help text of what `--record` adds, by the name in the state."""
SUMMARIES = {
    "latency": "Milliseconds that drawing adds to a frame (mode every: with inference).",
    "inference": "Milliseconds from request to result.",
    "mask_age": "Milliseconds by which masks are older than their frames.",
}


@dataclass(frozen=True)
class RunState:
    """Reads the state of a run; safe in any thread.

    Attributes:
        statistics: What the probes count.
        controls: What the user chose.
        incidents: Counts of what happened to inference.
        facts: What does not change: model, mode, platform, size of the network and of the frames.
        recorder: Records what is shown, or None.
        cpu: The load of the machine.
    """

    statistics: RunStatistics
    controls: Controls
    incidents: Callable[[], Mapping[str, int]]
    facts: Mapping[str, Any]
    recorder: Recorder | None = None
    cpu: CpuLoad = field(default_factory=CpuLoad)

    def as_dict(self) -> dict[str, Any]:
        """Return the state for JSON."""
        counts = self.statistics
        age = time.monotonic() - counts.last_frame_s if counts.frames else None
        return {
            "assistant": counts.assistant,
            "source": "lost" if counts.source_lost else "connected",
            "healthy": age is not None and age < ALIVE_S and not counts.source_lost,
            "frames": counts.frames,
            "frames_in": counts.frames_in,
            "frames_lost": counts.frames_lost,
            "frames_with_polyp": counts.frames_with_polyp,
            "frames_without_mask": counts.frames_without_mask,
            "probe_errors": counts.probe_errors,
            "reconnects": counts.reconnects,
            "server_outages": 0,
            "server_restarts": 0,
            **self.incidents(),
            "region": [round(share, 4) for share in counts.region],
            "inference_failure": counts.inference_failure,
            "fps": round(counts.recent_fps, 2),
            "last_frame_age_seconds": None if age is None else round(age, 3),
            "latency_ms": percentiles_ms(counts.latency_s, RECENT),
            "inference_ms": percentiles_ms(counts.inference_s, RECENT),
            "mask_age_ms": percentiles_ms(counts.mask_age_s, RECENT),
            "recorder": None if self.recorder is None else self.recorder.status(),
            "settings": self.controls.appearance.as_dict(),
            **self.facts,
        }

    def as_metrics(self) -> str:
        """Return the state in Prometheus's text format, version 0.0.4."""
        state = self.as_dict()
        usage = resource.getrusage(resource.RUSAGE_SELF)
        values = {
            **state,
            "assistant_ready": int(state["assistant"] == "ready"),
            "source_connected": int(state["source"] == "connected"),
            "resident_memory_bytes": resident_bytes(),
            "cpu_load": self.cpu.share(),
            "gpu_load": gpu_load(),
            "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 2),
        }
        lines = []
        for name, text in COUNTERS.items():
            lines += _metric(f"xpnet_{name}_total", "counter", text, values[name])
        recorder = state["recorder"] or {}
        for name, (kind, text) in RECORDER.items():
            if recorder.get(name) is not None:
                ending = "_total" if kind == "counter" else ""
                lines += _metric(f"xpnet_recorder_{name}{ending}", kind, text, int(recorder[name]))
        for name, text in GAUGES.items():
            if values[name] is not None:
                lines += _metric(f"xpnet_{name}", "gauge", text, values[name])
        for name, text in SUMMARIES.items():
            times = state[f"{name}_ms"]
            if times is not None:
                lines += [
                    f"# HELP xpnet_{name}_milliseconds {text}",
                    f"# TYPE xpnet_{name}_milliseconds gauge",
                ]
                lines += [
                    f'xpnet_{name}_milliseconds{{quantile="0.{key[1:]}"}} {value}'
                    for key, value in times.items()
                ]
        return "\n".join(lines) + "\n"


def _metric(name: str, kind: str, text: str, value: float) -> list[str]:
    return [f"# HELP {name} {text}", f"# TYPE {name} {kind}", f"{name} {value}"]
