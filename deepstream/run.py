"""`xpnet run`: a clip in, the clip with masks out, and a summary of what was measured."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from deepstream.graph import muxer_for
from deepstream.gstreamer import require_elements
from deepstream.player import Ending, play
from deepstream.probe import MODES
from deepstream.source import open_clip
from xpnet.card import read_card
from xpnet.errors import UserError
from xpnet.files import check_writable, write_text
from xpnet.frames import Segmentation
from xpnet.inference import Inference, OnnxInference
from xpnet.machine import describe_machine
from xpnet.overlay import OverlayStyle
from xpnet.runtimes import RUNTIMES
from xpnet.triton.client import TritonInference
from xpnet.triton.config import DEFAULT_MODEL
from xpnet.triton.server import REPOSITORY, ServerSettings, running_server

log = logging.getLogger("xpnet.graph")

BACKENDS = ("triton", *RUNTIMES)


@dataclass(frozen=True)
class RunSettings:
    """One run of the graph."""

    input: Path
    output: Path
    mode: str = "every"  # every: each frame its own mask; latest: at the clip's rate
    backend: str = "triton"  # triton, or a runtime of xpnet.runtimes: in this process
    url: str = ""  # HOST:PORT of a running Triton's gRPC; empty: a server of our own
    model: str = DEFAULT_MODEL  # a model of the repository
    repository: Path = REPOSITORY
    fps: float = 25.0  # for a folder of images
    json: Path | None = None  # where to write the summary
    style: OverlayStyle = field(default_factory=OverlayStyle)

    def __post_init__(self) -> None:
        for value, known in ((self.mode, tuple(MODES)), (self.backend, BACKENDS)):
            if value not in known:
                raise UserError(f"'{value}': expected {' or '.join(known)}")


def run(
    settings: RunSettings, on_mask: Callable[[Segmentation], None] | None = None
) -> dict[str, Any]:
    """Runs the graph; returns the summary, which is also written to `settings.json`.

    `on_mask` gets the Segmentation of every frame drawn, in order.

    Raises:
        UserError: input, output, model or server cannot be used.
    """
    require_elements()
    muxer_for(settings.output)
    check_writable(settings.output)
    if settings.json is not None:
        check_writable(settings.json)
    clip = open_clip(settings.input, settings.fps)
    if not clip.images and settings.output.exists() and settings.output.samefile(settings.input):
        raise UserError(f"{settings.output}: is the input itself: give the output another name")
    with opened_inference(settings) as inference:
        probes = MODES[settings.mode](clip.height, clip.width, inference, settings.style, on_mask)
        ending, reason = play(clip, settings.output, settings.mode, probes)
        card = inference.card
    summary = {
        "input": str(settings.input),
        "output": str(settings.output),
        "ending": ending.value,
        "reason": reason,
        "mode": settings.mode,
        "backend": settings.backend,
        "model": settings.model,
        "network_size": [card.input.height, card.input.width],
        "frame_size": [clip.height, clip.width],
        "clip_fps": round(clip.fps, 3),
        "clip_seconds": round(clip.seconds, 3),
        "audio": clip.has_audio,
        **probes.statistics.summary(),
        "machine": describe_machine(),
        "date": date.today().isoformat(),
    }
    if settings.json is not None:
        write_text(settings.json, json.dumps(summary, indent=2) + "\n")
    return summary


@contextmanager
def opened_inference(settings: RunSettings) -> Iterator[Inference]:
    """The inference that the settings ask for; a server of our own lives as long as it does."""
    folder = settings.repository / settings.model
    if settings.backend in RUNTIMES:
        model = folder / "1" / "model.onnx"
        with closing(OnnxInference(model, settings.backend)) as in_process:
            yield in_process
        return
    card = read_card(folder / "card.json")
    if settings.url:
        with closing(TritonInference(settings.url, settings.model, card)) as served:
            yield served
        return
    own = ServerSettings(
        settings.repository, (settings.model,), http_port=0, grpc_port=0, metrics_port=0
    )
    with running_server(own) as server:
        log.info("tritonserver serves %s at %s", settings.model, server.grpc_url)
        with closing(TritonInference(server.grpc_url, settings.model, card)) as served:
            yield served


def describe(summary: dict[str, Any]) -> tuple[list[str], str]:
    """The summary for a person, and one line on what went wrong, empty where nothing did."""
    latency = summary["latency_ms"] or {}
    frames, without = summary["frames"], summary["frames_without_mask"]
    lines = [
        f"{summary['output']}: {frames} frames, {summary['frames_with_polyp']} with a polyp",
        f"{summary['fps']:g} frames a second; latency p50 {latency.get('p50')} ms, "
        f"p95 {latency.get('p95')} ms, p99 {latency.get('p99')} ms",
    ]
    failure = ""
    if summary["ending"] == Ending.BROKEN_INPUT.value:
        failure = (
            f"{summary['input']}: broken after {frames} frames ({summary['reason']}); "
            f"{summary['output']} holds those"
        )
    elif summary["inference_failure"] or summary["probe_error"]:
        failure = (
            f"{summary['inference_failure'] or summary['probe_error']}: {without} of {frames} "
            f"frames have no mask; {summary['output']} is complete"
        )
    return lines, failure
