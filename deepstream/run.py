"""`xpnet run`: a clip in, the clip with masks out, and a summary of what was measured."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from deepstream.app_config.infer_config import check_size
from deepstream.graph.description import Description
from deepstream.graph.pipeline import checked_interval, describe_graph, has_sound
from deepstream.gstreamer import require_elements
from deepstream.io.output import Output, parse_output
from deepstream.io.source import Clip, open_source
from deepstream.player import Ending, OnMessage, play
from deepstream.preflight import Preflight, check_machine, checked_config, has_hardware_encoder
from deepstream.probes.base import Probes
from deepstream.probes.nvds_probe import NvdsProbes
from deepstream.probes.polyp_results import OnPolyps, PolypResults
from deepstream.probes.triton_probe import MODES
from xpnet.card import Card, read_model_card
from xpnet.errors import UserError
from xpnet.files import check_distinct, check_writable, replacing, write_text
from xpnet.frames import Segmentation
from xpnet.host.cpu import describe_machine
from xpnet.inference import Inference
from xpnet.overlay import OverlayStyle
from xpnet.paths import MODEL_REPOSITORY
from xpnet.platforms import GRAPHS, GSTREAMER, JETSON
from xpnet.serving.cpu_runtimes import RUNTIMES
from xpnet.serving.model_config import DEFAULT_MODEL
from xpnet.serving.onnx_inference import OnnxInference
from xpnet.serving.triton_client import TritonInference
from xpnet.serving.triton_server import ServerSettings, running_server

log = logging.getLogger("xpnet.graph")

BACKENDS = ("triton", *RUNTIMES)


@dataclass(frozen=True)
class RunSettings:
    """One run of the graph."""

    input: str | Path  # a file, a folder, rtsp://..., /dev/video0, decklink:0
    output: str | Path  # a file, screen, rtsp://HOST:PORT/NAME
    mode: str = "every"  # every: each frame its own mask; latest: at the clip's rate
    backend: str = "triton"  # triton, or a runtime of xpnet.serving.cpu_runtimes: in this process
    url: str = ""  # HOST:PORT of a running Triton's gRPC; empty: a server of our own
    model: str = DEFAULT_MODEL  # a model of the repository
    repository: Path = MODEL_REPOSITORY
    fps: float | None = None  # of a folder of images (25), or asked of a V4L2 device (its own)
    json: Path | None = None  # where to write the summary
    style: OverlayStyle = field(default_factory=OverlayStyle)
    platform: str = GSTREAMER  # or deepstream, deepstream-jetson: NVIDIA's elements
    height: int = 1080  # of a live source, in pixels
    width: int = 1920
    polyps: Path | None = None  # where to write the polyps of each frame, as JSON lines
    infer_config: Path | None = None  # deepstream: nvinferserver's config; none: made of the card
    tensors: bool = False  # deepstream: the network's probabilities, cut by us
    interval: int | None = None  # deepstream, mode latest: frames left out after one (1)

    def __post_init__(self) -> None:
        for value, known in (
            (self.mode, tuple(MODES)),
            (self.backend, BACKENDS),
            (self.platform, GRAPHS),
        ):
            if value not in known:
                raise UserError(f"'{value}': expected {' or '.join(known)}")
        checked_interval(self.interval, self.platform, self.mode)

    @property
    def left_out(self) -> int:
        """How many frames nvinferserver leaves out after each that it looks at."""
        return checked_interval(self.interval, self.platform, self.mode)


OnMask = Callable[[Segmentation], None]


def run(
    settings: RunSettings,
    on_mask: OnMask | None = None,
    on_polyps: OnPolyps | None = None,
    on_message: OnMessage | None = None,
) -> dict[str, Any]:
    """Runs the graph; returns the summary, which is also written to `settings.json`.

    `on_mask` gets the Segmentation of every frame drawn, `on_polyps` the polyps of every frame,
    in order, both in the overlay's thread; `on_message` every message of the pipeline's bus, such
    as `xpnet-polyps` and `xpnet-probe-failed`, in the thread of this call.

    Raises:
        UserError: input, output, model, server or an element of the platform cannot be used.
    """
    output = parse_output(settings.output)
    output.check()
    for path in (settings.json, settings.polyps):
        if path is not None:
            check_writable(path)
    machine = None
    if settings.platform == GSTREAMER:
        require_elements()
    else:
        machine = check_machine(settings.platform)
    clip = open_source(
        settings.input, settings.fps, settings.height, settings.width, machine is None
    )
    check_distinct((output.path, settings.json, settings.polyps), (clip.path, *clip.images))
    with ExitStack() as opened:
        results = _opened_results(settings, on_polyps, on_message is not None, opened)
        ready = None
        probes: Probes
        if machine is not None:
            clip = clip.even()
            ready = _ready(settings, *machine, opened)
            card = ready.card
            check_size(f"{clip.where} on DeepStream:", clip.height, clip.width, card)
            probes = NvdsProbes(
                clip.height, clip.width, settings.style, on_mask, results,
                card=card, pyds=ready.pyds, tensors=settings.tensors, jetson=ready.jetson,
                interval=settings.left_out,
            )  # fmt: skip
        else:
            inference = opened.enter_context(opened_inference(settings))
            card = inference.card
            probes = MODES[settings.mode](
                clip.height, clip.width, inference, settings.style, on_mask, results
            )
        ending = play(
            clip, output, probes,
            lambda words, inference: _describe(settings, clip, output, ready, words, inference),
            on_message,
        )  # fmt: skip
    summary = _summary(settings, clip, output, card, ending, probes)
    if settings.json is not None:
        write_text(settings.json, json.dumps(summary, indent=2) + "\n")
    return summary


def _summary(
    settings: RunSettings,
    clip: Clip,
    output: Output,
    card: Card,
    ending: tuple[Ending, str],
    probes: Probes,
) -> dict[str, Any]:
    deepstream = settings.platform != GSTREAMER
    return {
        "input": clip.where,
        "output": output.where,
        "ending": ending[0].value,
        "reason": ending[1],
        "platform": settings.platform,
        "mode": settings.mode,
        "interval": settings.left_out,
        "backend": "nvinferserver" if deepstream else settings.backend,
        "model": settings.model,
        "network_size": [card.input.height, card.input.width],
        "frame_size": [clip.height, clip.width],
        "clip_fps": round(clip.fps, 3),
        "clip_seconds": round(clip.seconds, 3),
        "audio": has_sound(settings.platform, clip, output.muxer),
        **probes.statistics.summary(),
        "polyps_error": probes.results.error if probes.results else "",
        "polyps_errors": probes.results.errors if probes.results else 0,
        "machine": describe_machine(),
        "date": date.today().isoformat(),
    }


def _ready(settings: RunSettings, platform: str, pyds: Any, opened: ExitStack) -> Preflight:
    """Machine, model and config; a config that was made lives until `opened` closes."""
    card, config = opened.enter_context(
        checked_config(
            settings.infer_config, settings.repository, settings.model, settings.url,
            settings.tensors, platform == JETSON,
        )
    )  # fmt: skip
    return Preflight(platform, pyds, card, config)


def _describe(
    settings: RunSettings,
    clip: Clip,
    output: Output,
    ready: Preflight | None,
    words: dict[str, str],
    inference: bool,
) -> Description:
    if ready is None:
        description = describe_graph(GSTREAMER, clip, output.kind, words, settings.mode)
    else:
        if clip.has_audio and output.muxer and not has_sound(ready.platform, clip, output.muxer):
            log.warning("%s: its sound, %s, does not go into %s: left out", clip.where,
                        clip.stored_sound, output.where)  # fmt: skip
        hardware = has_hardware_encoder()
        if not hardware and output.kind != "screen":
            log.warning("no hardware encoder here: x264enc encodes on the CPU")
        description = describe_graph(
            ready.platform, clip, output.kind, words, settings.mode if inference else "none",
            str(ready.infer_config), hardware, settings.left_out,
        )  # fmt: skip
    require_elements(row.factory for row in description.elements)
    log.debug("gst-launch-1.0 %s", clip.redacted(description.as_launch()))
    return description


def _opened_results(
    settings: RunSettings, on_polyps: OnPolyps | None, listening: bool, opened: ExitStack
) -> PolypResults | None:
    """Where polyps go; the file of JSON lines gets its name when `opened` closes."""
    if settings.polyps is None:
        return PolypResults(None, on_polyps) if on_polyps or listening else None
    partial = opened.enter_context(replacing(settings.polyps))
    return PolypResults(opened.enter_context(partial.open("w", encoding="utf-8")), on_polyps)


@contextmanager
def opened_inference(settings: RunSettings) -> Iterator[Inference]:
    """The inference that the settings ask for; a server of our own lives as long as it does."""
    folder = settings.repository / settings.model
    if settings.backend in RUNTIMES:
        model = folder / "1" / "model.onnx"
        with closing(OnnxInference(model, settings.backend)) as in_process:
            yield in_process
        return
    card = read_model_card(settings.repository, settings.model)
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
    plural = "" if frames == 1 else "s"
    rate = f"{summary['fps']:g} frames a second; " if frames > 1 else ""
    lines = [
        f"{summary['output']}: {frames} frame{plural}, {summary['frames_with_polyp']} with a polyp",
        f"{rate}latency p50 {latency.get('p50')} ms, "
        f"p95 {latency.get('p95')} ms, p99 {latency.get('p99')} ms",
    ]
    failure = ""
    if summary["ending"] == Ending.BROKEN_INPUT.value:
        failure = (
            f"{summary['input']}: broken after {frames} frames ({summary['reason']}); "
            f"{summary['output']} holds those"
        )
    elif summary["ending"] == Ending.BROKEN_GRAPH.value:
        failure = (
            f"{summary['reason']}: ended after {frames} frames; {summary['output']} holds those"
        )
    elif summary["inference_failure"] or summary["probe_error"]:
        failure = (
            f"{summary['inference_failure'] or summary['probe_error']}: {without} of {frames} "
            f"frames have no mask; {summary['output']} is complete"
        )
    elif summary["polyps_errors"]:
        failure = (
            f"{summary['polyps_error']}: the polyps were not handed on {summary['polyps_errors']} "
            f"times; {summary['output']} is complete"
        )
    return lines, failure
