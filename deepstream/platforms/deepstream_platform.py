"""NVIDIA DeepStream: inference by nvinferserver inside the graph, on a dGPU or a Jetson."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from deepstream.app_config.infer_config import check_frame_size
from deepstream.graph.description import UNENCODED, Description
from deepstream.graph.pipeline import describe_graph, has_output_audio
from deepstream.io.output import Output, SinkProperties
from deepstream.io.source import VideoSource
from deepstream.platforms.base import Drawing, Model, OpenPlatform
from deepstream.platforms.deepstream_checks import (
    check_deepstream,
    has_hardware_encoder,
    is_jetson,
    load_pyds,
)
from deepstream.platforms.infer_server_config import open_infer_config
from deepstream.probes.nvds_probe import NvdsProbes
from xpnet.errors import UserError
from xpnet.platforms import DGPU, JETSON
from xpnet.serving.model_config import DEFAULT_PLAN

log = logging.getLogger("xpnet.graph")

DEFAULT_INTERVAL, MAX_INTERVAL = 1, 30
"""In mode `latest` every second frame gets a mask of its own by default; a mask is shown for a
limited time (`max_mask_age_s`)."""


@dataclass(frozen=True)
class DeepStreamSettings:
    """How DeepStream runs inference.

    Attributes:
        jetson: Treat this machine as a Jetson even if it cannot be detected, as in containers.
        url: HOST:PORT of a running Triton's gRPC service; empty runs Triton inside the graph.
        infer_config: A config file for nvinferserver; None makes one from the model's card.
        probabilities: Take the network's probabilities instead of nvinferserver's mask.
        interval: In mode `latest`: frames without inference after each frame with inference;
            None for DEFAULT_INTERVAL.
    """

    jetson: bool = False
    url: str = ""
    infer_config: Path | None = None
    probabilities: bool = False
    interval: int | None = None


def frames_without_inference(interval: int | None, mode: str) -> int:
    """Return how many frames nvinferserver skips after each frame that it processes.

    Args:
        interval: The user's choice, or None.
        mode: `every` or `latest`.

    Raises:
        UserError: An interval in mode `every`, or one that is out of range.
    """
    if interval is None:
        return DEFAULT_INTERVAL if mode == "latest" else 0
    if mode != "latest":
        raise UserError("--interval belongs to --mode latest on DeepStream")
    if not 1 <= interval <= MAX_INTERVAL:
        raise UserError(f"--interval {interval}, expected 1 to {MAX_INTERVAL}")
    return interval


class DeepStreamPlatform:
    """DeepStream's elements with our pyds probe; see `deepstream.platforms.base.Platform`."""

    backend = "nvinferserver"
    default_model = DEFAULT_PLAN
    rotates_video = False

    def __init__(self, settings: DeepStreamSettings, mode: str) -> None:
        self._settings, self._mode = settings, mode
        self.interval = frames_without_inference(settings.interval, mode)
        check_deepstream()
        self._jetson = settings.jetson or is_jetson()
        self._pyds = load_pyds()
        self.name = JETSON if self._jetson else DGPU

    def adjust_source(self, source: VideoSource) -> VideoSource:
        """Return the source with an even size: NVIDIA's encoders and converters take no other."""
        return source.with_even_size()

    @contextmanager
    def open(
        self, source: VideoSource, output: Output, model: Model, drawing: Drawing
    ) -> Iterator[OpenPlatform]:
        """Make or check nvinferserver's config and make the probe; see `Platform.open`."""
        settings = self._settings
        if drawing.recorder is not None:
            raise UserError("--record belongs to --platform gstreamer; on DeepStream use --output "
                            "FILE.mkv")  # fmt: skip
        with open_infer_config(
            settings.infer_config,
            model,
            url=settings.url,
            probabilities=settings.probabilities,
            jetson=self._jetson,
        ) as (card, config):
            check_frame_size(
                f"{source.display_name} on DeepStream:", source.height, source.width, card
            )
            probes = NvdsProbes(
                source.height,
                source.width,
                drawing.controls,
                drawing.on_mask,
                drawing.results,
                drawing.max_mask_age_s,
                drawing.preview,
                card=card,
                pyds=self._pyds,
                probabilities=settings.probabilities,
                jetson=self._jetson,
                interval=self.interval,
            )

            def describe(sink: SinkProperties, inference: bool) -> Description:
                text = str(config) if inference else ""
                return self._describe(source, output, sink, text, drawing.preview is not None)

            yield OpenPlatform(card, probes, describe)

    def _describe(
        self,
        source: VideoSource,
        output: Output,
        sink: SinkProperties,
        infer_config: str,
        preview: bool,
    ) -> Description:
        if source.has_audio and sink.muxer and not has_output_audio(self.name, source, sink.muxer):
            log.warning("%s: audio (%s) is left out: %s cannot hold it", source.display_name,
                        source.audio_format, output.display_name)  # fmt: skip
        hardware = has_hardware_encoder()
        if not hardware and output.kind not in UNENCODED:
            log.warning("no hardware encoder found: x264enc encodes on the CPU")
        return describe_graph(
            self.name,
            source,
            output.kind,
            sink,
            self._mode if infer_config else "none",
            infer_config=infer_config,
            hardware_encoder=hardware,
            interval=self.interval,
            preview=preview,
        )
