"""`xpnet bench soak`: a live run for a long time, watched from outside through its HTTP service."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xpnet.bench.live_run import LiveRun, live_run
from xpnet.errors import UserError
from xpnet.figures import new_figure, save_figure
from xpnet.host.cpu import measured_here
from xpnet.host.processes import resident_bytes
from xpnet.paths import DEMO_CLIP

SAMPLE_S = 5.0
WARM_UP_SHARE = 1 / 12
"""Share of the time after which memory counts: five minutes of an hour."""


@dataclass(frozen=True)
class SoakSettings:
    """What runs, and for how long.

    Attributes:
        minutes: Duration.
        clip: A video that is played as if live, again and again.
        height: Height of the frames in pixels.
        width: Width of the frames in pixels.
        pattern_fps: Frames a second of a test pattern in the place of the clip; None: the clip.
        options: Further options of `xpnet run`, such as `--backend openvino`.

    Raises:
        UserError: A duration that is not positive.
    """

    minutes: float = 60.0
    clip: Path = DEMO_CLIP
    height: int = 720
    width: int = 1280
    pattern_fps: float | None = None
    options: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not 0 < self.minutes <= 60 * 24 * 7:
            raise UserError(f"--minutes {self.minutes:g}: expected more than 0, at most a week")


def soak(settings: SoakSettings) -> dict[str, Any]:
    """Run `xpnet run --mode latest --output none` and return what happened to frames and memory.

    Args:
        settings: What runs.

    Returns:
        The report: `frames_in`, `frames_shown`, `frames_lost`, `frames_without_mask`,
        `added_latency_ms`, `rss_growth_mib`, `server_restarts`, and `samples` over time. A run that
        ended by itself has another `ending` than `interrupted`, and its own duration as `minutes`.

    Raises:
        UserError: The run does not start or answer, or ends without a summary.
    """
    options = ("--height", str(settings.height), "--width", str(settings.width), *settings.options)
    source = f"live:{settings.clip}"
    if settings.pattern_fps is not None:
        source, options = "testpattern", ("--fps", f"{settings.pattern_fps:g}", *options)
    with live_run(source, options) as run:
        samples, ended_s = _watch(run, settings.minutes * 60)
        summary = run.stop()
    return _report(settings, summary, samples, ended_s)


def failed(report: dict[str, Any]) -> bool:
    """Return whether frames were lost, or the run ended by itself.

    Args:
        report: The result of `soak`.
    """
    return bool(report["frames_lost"]) or report["ending"] != "interrupted"


def _watch(run: LiveRun, seconds: float) -> tuple[list[dict[str, Any]], float | None]:
    """Return samples of the run's state and memory until the time is over.

    The second value is after how many seconds the run ended by itself; None if it did not.
    """
    started: float = time.monotonic()
    samples: list[dict[str, Any]] = []
    while (now := time.monotonic() - started) < seconds:
        if run.ended:
            return samples, now
        state = run.state()
        latency = state["latency_ms"] or {}
        samples.append(
            {
                "seconds": round(now, 1),
                "frames": state["frames"],
                "frames_in": state["frames_in"],
                "assistant": state["assistant"],
                "p50_ms": latency.get("p50"),
                "p99_ms": latency.get("p99"),
                "rss_mib": round(resident_bytes(run.pid) / 2**20, 2),
            }
        )
        time.sleep(max(0.0, min(SAMPLE_S, seconds - (time.monotonic() - started))))
    return samples, None


def _report(
    settings: SoakSettings,
    summary: dict[str, Any],
    samples: list[dict[str, Any]],
    ended_s: float | None,
) -> dict[str, Any]:
    minutes = settings.minutes if ended_s is None else round(ended_s / 60, 2)
    warm = [s for s in samples if s["seconds"] >= WARM_UP_SHARE * minutes * 60]
    memory = [s["rss_mib"] for s in warm]
    first = memory[: max(1, len(memory) // 10)]  # single samples differ by some MiB
    grown = max(memory) - sum(first) / len(first) if memory else 0.0
    return {
        "minutes": minutes,
        "clip": settings.clip.name if settings.pattern_fps is None else "test pattern",
        "frame_size": summary["frame_size"],
        "model": summary["model"],
        "backend": summary["backend"],
        "ending": summary["ending"],
        "reason": summary["reason"],
        "fps": summary["fps"],
        "frames_in": summary["frames_in"],
        "frames_shown": summary["frames"],
        "frames_lost": summary["frames_lost"],
        "frames_without_mask": summary["frames_without_mask"],
        "added_latency_ms": summary["latency_ms"],
        "mask_age_ms": summary["mask_age_ms"],
        "inference_ms": summary["inference_ms"],
        "rss_growth_mib": round(grown, 2),
        "server_restarts": summary["server_restarts"],
        **measured_here(),
        "samples": samples,
    }


def as_lines(report: dict[str, Any]) -> list[str]:
    """Return a report as lines for a person.

    Args:
        report: The result of `soak`.
    """
    latency = report["added_latency_ms"] or {}
    height, width = report["frame_size"]
    return [
        f"{report['minutes']:g} min of {width} x {height} at {report['fps']:g} fps, "
        f"{report['model']} by {report['backend']}: {report['ending']}",
        f"frames in {report['frames_in']}, shown {report['frames_shown']}, lost "
        f"{report['frames_lost']}, without a mask {report['frames_without_mask']}",
        f"added latency p50 {latency.get('p50')} ms, p95 {latency.get('p95')} ms, "
        f"p99 {latency.get('p99')} ms; memory grew by {report['rss_growth_mib']:g} MiB after the "
        "first twelfth",
    ]


def draw(report: dict[str, Any], path: Path) -> None:
    """Draw added latency and memory over time.

    Args:
        report: The result of `soak`.
        path: Picture to write: .png, .svg or .pdf.
    """
    figure = new_figure(9, 5)
    minutes = [s["seconds"] / 60 for s in report["samples"]]
    above, below = figure.subplots(2, 1, sharex=True)
    for name, colour in (("p50_ms", "#1f77b4"), ("p99_ms", "#d62728")):
        values = [s[name] if s[name] is not None else float("nan") for s in report["samples"]]
        above.plot(minutes, values, color=colour, linewidth=1, label=name.removesuffix("_ms"))
    above.axhline(1000 / report["fps"], color="#888888", linestyle="--", linewidth=1)
    above.text(0, 1000 / report["fps"], " one frame", va="bottom", color="#555555", fontsize=9)
    above.set_ylabel("added latency, ms\n(10 s windows)")
    above.set_ylim(bottom=0)
    above.legend(loc="upper right")
    below.plot(minutes, [s["rss_mib"] for s in report["samples"]], color="#2ca02c", linewidth=1)
    below.set_ylabel("resident memory, MiB")
    below.set_ylim(bottom=0)
    below.set_xlabel("minutes")
    height, width = report["frame_size"]
    above.set_title(
        f"{width} x {height}, mode latest, {report['model']}; {report['frames_lost']} of "
        f"{report['frames_in']} frames lost\n{report['machine']}, {report['date']}",
        fontsize=10,
    )
    save_figure(figure, path)
