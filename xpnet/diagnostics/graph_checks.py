"""Checks of the video graph on the demo clip: masks, files, rate, and the loss of the server."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path
from typing import Any

from xpnet.diagnostics.check_context import CheckContext, CheckResult, last_line
from xpnet.diagnostics.model_checks import served_min_dice
from xpnet.diagnostics.reference_masks import MASKS_ALONE, masks_dice, read_drawn_masks
from xpnet.errors import UserError
from xpnet.images import frame_count
from xpnet.paths import DEMO_CLIP
from xpnet.serving.model_config import DEFAULT_MODEL
from xpnet.serving.triton_server import ServerSettings, running_server

VIDEO_DICE_LOSS = 0.02
"""Dice that may be lost by reading masks back from a video: compression moves their edges."""
MAX_RATE_LOSS = 0.02
"""Share of the clip's frame rate by which the graph may be slower."""
START_TIMEOUT_S = 60
END_TIMEOUT_S = 120


def check_graph_masks(context: CheckContext) -> CheckResult:
    """Check that every frame of the clip has a mask, and compare with the reference masks."""
    summary = _run_graph(context)
    masks = read_drawn_masks(context.work_dir / "graph.mp4")
    dice = masks_dice(masks, context.reference_masks(DEFAULT_MODEL).masks)
    complete = summary["frames"] == frame_count(DEMO_CLIP) and summary["frames_without_mask"] == 0
    min_dice = served_min_dice() - VIDEO_DICE_LOSS
    return complete and dice >= min_dice, (
        f"{summary['frames']} frames, {summary['frames_without_mask']} without a mask; Dice of "
        f"the drawn masks {dice:.4f}, expected {min_dice:g}"
    )


def check_nothing_else_written(context: CheckContext) -> CheckResult:
    """Check that the graph wrote only the files that its options name."""
    _run_graph(context)
    named = {"graph.mp4", "graph.json"}
    others = [name for name in _files_after_graph(context) if name not in named]
    return not others, f"files besides the named output: {', '.join(others) or 'none'}"


def check_clip_rate(context: CheckContext) -> CheckResult:
    """Check that the graph shows the clip at its own frame rate in mode `latest`."""
    summary = context.run_graph("latest", DEMO_CLIP, "--mode", "latest", *context.repository_option)
    min_fps = summary["clip_fps"] * (1 - MAX_RATE_LOSS)
    age_ms = (summary["mask_age_ms"] or {}).get("p50")
    return summary["fps"] >= min_fps, (
        f"{summary['fps']:g} fps, expected the clip's {summary['clip_fps']:g}; "
        f"median age of a mask {age_ms} ms"
    )


def check_video_after_server_loss(context: CheckContext) -> CheckResult:
    """Kill the server during a run, and check that the video continues to its end."""
    settings = ServerSettings(
        context.repository, (DEFAULT_MODEL,), http_port=0, grpc_port=0, metrics_port=0
    )
    video, summary_file = context.work_dir / "killed.mp4", context.work_dir / "killed.json"
    with running_server(settings) as server:
        process = context.start_xpnet(
            "run", DEMO_CLIP, "--output", video, "--mode", "latest", "--url", server.grpc_url,
            "--json", summary_file, *context.repository_option,
        )  # fmt: skip
        try:
            _wait_for_output(process, video)
            server.kill()
            process.communicate(timeout=END_TIMEOUT_S)
        finally:
            if process.poll() is None:
                process.kill()
                process.communicate()
    if not (video.is_file() and summary_file.is_file()):
        return False, f"the output was not completed; exit code {process.returncode}"
    frames, total = frame_count(video), frame_count(DEMO_CLIP)
    without_mask = json.loads(summary_file.read_text(encoding="utf-8"))["frames_without_mask"]
    # `xpnet run` exits with 2 if frames have no mask.
    passed = frames == total and 0 < without_mask < total and process.returncode == 2
    return passed, f"{frames} of {total} frames written, {without_mask} of them without a mask"


def _run_graph(context: CheckContext) -> dict[str, Any]:
    """Run the graph on the clip once, in mode `every`, and return its summary."""

    def run() -> dict[str, Any]:
        summary = context.run_graph("graph", DEMO_CLIP, *MASKS_ALONE, *context.repository_option)
        _files_after_graph(context)
        how = f"xpnet run, {summary['model']}, each frame with its own mask, not steadied"
        latency_ms = summary["latency_ms"]
        context.add_measured("the graph", summary["fps"], "fps", how)
        context.add_measured("the graph, latency p50", latency_ms["p50"], "ms", how)
        context.add_measured("the graph, latency p99", latency_ms["p99"], "ms", how)
        return summary

    summary: dict[str, Any] = context.cached("graph", run)
    return summary


def _files_after_graph(context: CheckContext) -> list[str]:
    """Return the files in the work folder directly after the run of `_run_graph`."""
    names: list[str] = context.cached(
        "files after graph", lambda: sorted(p.name for p in context.work_dir.iterdir())
    )
    return names


def _wait_for_output(process: subprocess.Popen[str], video: Path) -> None:
    """Wait until the graph has written frames: the first bytes of its file and 1.5 s more.

    Raises:
        UserError: The process ended before, or wrote nothing in time.
    """
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline and process.poll() is None:
        # Until it is complete, the file has a temporary name.
        if any(p.stat().st_size > 0 for p in video.parent.glob(f".{video.name}*")):
            time.sleep(1.5)
            return
        time.sleep(0.1)
    if process.poll() is not None:
        output, errors = process.communicate()
        reason = last_line(output + "\n" + errors)
        raise UserError(
            f"xpnet run: ended before its output was read, exit code {process.returncode}: {reason}"
        )
    raise UserError(f"xpnet run wrote no output within {START_TIMEOUT_S} s")
