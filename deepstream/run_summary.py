"""The summary of a run: as JSON, and as lines for a person."""

from __future__ import annotations

from datetime import date
from typing import Any

from deepstream.graph.pipeline import has_output_audio
from deepstream.io.output import Output
from deepstream.io.source import VideoSource
from deepstream.platforms.base import OpenPlatform, Platform
from deepstream.player import Ending, Outcome
from xpnet.host.cpu import describe_machine


def summarize(
    source: VideoSource,
    output: Output,
    platform: Platform,
    opened: OpenPlatform,
    outcome: Outcome,
    model: str,
    mode: str,
) -> dict[str, Any]:
    """Return the summary that `--json` writes.

    Args:
        source: What was played.
        output: Where it went.
        platform: The platform that it ran on.
        opened: Card and probes of the run; the probes hold the statistics.
        outcome: How the run ended.
        model: Name of the model.
        mode: `every` or `latest`.
    """
    results, card = opened.probes.results, opened.card
    return {
        "input": source.display_name,
        "output": output.display_name,
        "ending": outcome.ending.value,
        "reason": outcome.reason,
        "platform": platform.name,
        "mode": mode,
        "interval": platform.interval,
        "backend": platform.backend,
        "model": model,
        "network_size": [card.input.height, card.input.width],
        "frame_size": [source.height, source.width],
        "clip_fps": round(source.fps, 3),
        "clip_seconds": round(source.seconds, 3),
        "audio": has_output_audio(platform.name, source, output.muxer),
        **opened.probes.statistics.summary(),
        "server_outages": 0,
        "server_restarts": 0,
        **opened.incidents(),
        "polyps_error": results.error if results else "",
        "polyps_errors": results.errors if results else 0,
        "machine": describe_machine(),
        "date": date.today().isoformat(),
    }


def format_summary(summary: dict[str, Any]) -> tuple[list[str], str]:
    """Return a summary as lines for a person, and one line about what failed.

    Args:
        summary: The result of `summarize`.

    Returns:
        The lines, and the line about a failure; it is empty if nothing failed.
    """
    latency = summary["latency_ms"] or {}
    frames, polyps = summary["frames"], summary["frames_with_polyp"]
    plural = "" if frames == 1 else "s"
    rate = f"{summary['fps']:g} fps; " if frames > 1 else ""
    lines = [
        f"{summary['output']}: {frames} frame{plural}, {polyps} with a polyp",
        f"{rate}latency p50 {latency.get('p50')} ms, "
        f"p95 {latency.get('p95')} ms, p99 {latency.get('p99')} ms",
    ]
    if summary["server_restarts"]:
        times = summary["server_restarts"]
        lines.append(f"tritonserver was started again {times} time{'s' if times > 1 else ''}")
    failed = failure(summary)
    if not failed:
        return lines, ""
    broken = summary["ending"] in (Ending.BROKEN_INPUT.value, Ending.BROKEN_GRAPH.value)
    subject = f"{summary['input']}: " if summary["ending"] == Ending.BROKEN_INPUT.value else ""
    state = "contains them" if broken else "is complete"
    return lines, f"{subject}{failed}; {summary['output']} {state}"


def failure(summary: dict[str, Any]) -> str:
    """Return what failed in a run, without the names of its input and output; empty if nothing did.

    Args:
        summary: The result of `summarize`.
    """
    frames, reason = summary["frames"], summary["reason"]
    if summary["ending"] == Ending.BROKEN_INPUT.value:
        return f"broken after {frames} frames ({reason})"
    if summary["ending"] == Ending.BROKEN_GRAPH.value:
        return f"{reason}: stopped after {frames} frames"
    failed = summary["inference_failure"] or summary["probe_error"]
    if failed:
        return f"{failed}: {summary['frames_without_mask']} of {frames} frames have no mask"
    if summary["polyps_errors"]:
        count = summary["polyps_errors"]
        return f"{summary['polyps_error']}: polyps of {count} frames were not written"
    return ""
