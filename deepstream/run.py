"""`xpnet run`: a video in, the video with masks out, and a summary of the run.

The steps of `run`, in order: check the outputs, check the platform, open the source, open the
platform's inference, play the graph, summarize.
"""

from __future__ import annotations

import json
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deepstream.control.appearance import Appearance
from deepstream.control.preview import Preview
from deepstream.control.service import ControlSettings, open_controls, running_control
from deepstream.io.output import check_output, parse_output
from deepstream.io.source import open_source
from deepstream.platforms.base import Drawing, Model, OnMask, Platform
from deepstream.platforms.deepstream_platform import DeepStreamPlatform, DeepStreamSettings
from deepstream.platforms.gstreamer_platform import GStreamerPlatform, GStreamerSettings
from deepstream.player import OnMessage, play
from deepstream.probes.base import MAX_MASK_AGE_S
from deepstream.probes.line_writer import LineWriter
from deepstream.probes.polyp_results import OnPolyps, PolypResults
from deepstream.probes.triton_probe import MODES
from deepstream.recording.recorder import Recorder, RecordSettings
from deepstream.run_summary import summarize
from xpnet.errors import UserError
from xpnet.files import check_distinct, check_writable, replacing, write_text
from xpnet.overlay import OverlayStyle
from xpnet.paths import MODEL_REPOSITORY
from xpnet.scope_region import AUTO, FULL, parse_region


@dataclass(frozen=True)
class RunSettings:
    """One run of the graph.

    Attributes:
        input: A video file, a folder of images, rtsp://..., /dev/videoN or decklink:N.
        output: A file (.mp4, .mkv), `screen`, `drm`, or rtsp://HOST:PORT/NAME to serve at.
        mode: `every`: each frame waits for its own mask; `latest`: the source's frame rate, each
            frame with the newest mask.
        model: A model of the repository; empty for the platform's default.
        repository: The Triton model repository.
        fps: Frame rate of a folder of images (25), or to request from a V4L2 device (its own).
        height: Height of a live source's frames, in pixels; None for LIVE_SIZE, or that of a file
            that is played as if live.
        width: Width of them.
        style: How masks are drawn.
        max_mask_age_s: In mode `latest`, by how many seconds a mask may be older than the frame.
        signs: Whether signs on the picture show if the assistant works; None: in mode `latest`.
        smoothing: Whether masks are averaged over a short time (xpnet.steadiness); None: unless
            the input is a folder of images, which need not be consecutive.
        confirmation: Whether an area is marked only after some frames, and for some longer; None:
            likewise.
        region: The scope's picture within the frame, outside of which nothing is marked: `auto`,
            `full`, or X,Y,WIDTH,HEIGHT as shares of the frame.
        control: Where the run can be watched and controlled by HTTP; None: nowhere.
        record: What may be recorded beside the output, and where; None: nothing.
        json: Where to write the summary; None writes none.
        polyps: Where to write the polyps of each frame as JSON lines; None writes none.
        platform: Plain GStreamer or DeepStream, with its own settings.
    """

    input: str | Path
    output: str | Path
    mode: str = "every"
    model: str = ""
    repository: Path = MODEL_REPOSITORY
    fps: float | None = None
    height: int | None = None
    width: int | None = None
    style: OverlayStyle = field(default_factory=OverlayStyle)
    max_mask_age_s: float = MAX_MASK_AGE_S
    signs: bool | None = None
    smoothing: bool | None = None
    confirmation: bool | None = None
    region: str = AUTO
    control: ControlSettings | None = None
    record: RecordSettings | None = None
    json: Path | None = None
    polyps: Path | None = None
    platform: GStreamerSettings | DeepStreamSettings = field(default_factory=GStreamerSettings)

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise UserError(f"mode '{self.mode}': expected {' or '.join(MODES)}")
        parse_region(self.region)
        if not 0 < self.max_mask_age_s <= 10:
            raise UserError(
                f"a mask age of {self.max_mask_age_s:g} s: expected more than 0 and at most 10"
            )


def run(
    settings: RunSettings,
    on_mask: OnMask | None = None,
    on_polyps: OnPolyps | None = None,
    on_message: OnMessage | None = None,
) -> dict[str, Any]:
    """Run the graph to the end of the source.

    Args:
        settings: What to run.
        on_mask: Called with the Segmentation of every frame drawn, in the overlay's thread.
        on_polyps: Called with the polyps of every frame, in order, in the overlay's thread.
        on_message: Called with every message of the pipeline's bus, such as `xpnet-polyps` and
            `xpnet-probe-failed`, in the thread of this call.

    Returns:
        The summary, which is also written to `settings.json`.

    Raises:
        UserError: The input, the output, the model, the server or an element of the platform
            cannot be used.
    """
    output = parse_output(settings.output)
    check_output(output)
    for path in (settings.json, settings.polyps):
        if path is not None:
            check_writable(path)
    platform = open_platform(settings.platform, settings.mode)
    source = platform.adjust_source(
        open_source(
            settings.input, settings.fps, settings.height, settings.width, platform.rotates_video
        )
    )
    check_distinct((output.path, settings.json, settings.polyps), (source.path, *source.images))
    model = Model(settings.repository, settings.model or platform.default_model)
    with ExitStack() as stack:
        results = open_results(settings.polyps, on_polyps, on_message is not None, stack)
        signs = settings.mode == "latest" if settings.signs is None else settings.signs
        video = not source.images
        appearance = Appearance(
            style=settings.style,
            signs=signs,
            smoothing=video if settings.smoothing is None else settings.smoothing,
            confirmation=video if settings.confirmation is None else settings.confirmation,
            # Independent frames have no common border.
            region=FULL if source.images and settings.region == AUTO else settings.region,
        )
        controls = open_controls(appearance, settings.control)
        preview = Preview() if settings.control else None
        recorder = open_recorder(settings.record, stack)
        drawing = Drawing(controls, on_mask, results, settings.max_mask_age_s, preview, recorder)
        opened = stack.enter_context(platform.open(source, output, model, drawing))
        if recorder is not None:
            # Before the server, which may take long to stop: systemd does not wait for ever.
            stack.callback(recorder.close)
        if settings.control is not None and preview is not None:
            facts = {
                "model": model.name,
                "mode": settings.mode,
                "platform": platform.name,
                "output": output.kind,
            }
            stack.enter_context(
                running_control(settings.control, controls, preview, recorder, opened, facts)
            )
        outcome = play(source, output, opened.probes, opened.describe, on_message)
    summary = summarize(source, output, platform, opened, outcome, model.name, settings.mode)
    if settings.json is not None:
        write_text(settings.json, json.dumps(summary, indent=2) + "\n")
    return summary


def open_recorder(settings: RecordSettings | None, stack: ExitStack) -> Recorder | None:
    """Return the recorder of a run, or None without settings.

    Args:
        settings: What may be recorded.
        stack: Completes what is being written when it closes.
    """
    if settings is None:
        return None
    recorder = Recorder(settings)
    stack.callback(recorder.close)
    return recorder


def open_platform(settings: GStreamerSettings | DeepStreamSettings, mode: str) -> Platform:
    """Return the platform that the settings belong to.

    Args:
        settings: Settings of one platform.
        mode: `every` or `latest`.

    Raises:
        UserError: This machine lacks a part of the platform.
    """
    if isinstance(settings, DeepStreamSettings):
        return DeepStreamPlatform(settings, mode)
    return GStreamerPlatform(settings, mode)


def open_results(
    path: Path | None, on_polyps: OnPolyps | None, post_messages: bool, stack: ExitStack
) -> PolypResults | None:
    """Return what receives each frame's polyps, or None if nothing needs them.

    Args:
        path: File of JSON lines; it gets its name when `stack` closes.
        on_polyps: Called with each frame's polyps.
        post_messages: Whether the caller reads `xpnet-polyps` from the bus.
        stack: Closes the file.

    Raises:
        UserError: The file cannot be written; also when `stack` closes.
    """
    if path is None:
        return PolypResults(None, on_polyps) if on_polyps or post_messages else None
    partial = stack.enter_context(replacing(path))
    stream = stack.enter_context(partial.open("w", encoding="utf-8"))
    return PolypResults(stack.enter_context(LineWriter(stream)), on_polyps)
