"""Plain GStreamer: inference through Triton or in this process, on any Linux machine."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace

from deepstream.graph.description import Description
from deepstream.graph.pipeline import describe_graph
from deepstream.gstreamer import require_elements
from deepstream.io.output import SCREEN, Output, SinkProperties
from deepstream.io.source import VideoSource
from deepstream.io.window import usable_window
from deepstream.platforms.base import Drawing, Model, OpenPlatform
from deepstream.probes.triton_probe import MODES
from xpnet.card import read_model_card
from xpnet.errors import UserError
from xpnet.inference import Inference
from xpnet.paths import onnx_path
from xpnet.platforms import GSTREAMER
from xpnet.serving.cpu_runtimes import RUNTIMES
from xpnet.serving.model_config import DEFAULT_MODEL
from xpnet.serving.onnx_inference import OnnxInference
from xpnet.serving.supervised_server import supervised_server
from xpnet.serving.triton_client import TritonInference
from xpnet.serving.triton_server import ServerSettings

log = logging.getLogger("xpnet.graph")

TRITON = "triton"
BACKENDS = (TRITON, *RUNTIMES)


@dataclass(frozen=True)
class GStreamerSettings:
    """Where inference runs.

    Attributes:
        backend: `triton`, or a runtime of xpnet.serving.cpu_runtimes in this process.
        url: HOST:PORT of a running Triton's gRPC service; empty starts a server for this run.
        threads: Threads of a runtime in this process; 0 for one on each core.
    """

    backend: str = TRITON
    url: str = ""
    threads: int = 0

    def __post_init__(self) -> None:
        if self.backend not in BACKENDS:
            raise UserError(f"backend '{self.backend}': expected {' or '.join(BACKENDS)}")


class GStreamerPlatform:
    """Plain GStreamer with our pad probes; see `deepstream.platforms.base.Platform`."""

    name = GSTREAMER
    default_model = DEFAULT_MODEL
    rotates_video = True
    interval = 0

    def __init__(self, settings: GStreamerSettings, mode: str) -> None:
        require_elements()
        self._settings, self._mode = settings, mode
        self.backend = settings.backend

    def adjust_source(self, source: VideoSource) -> VideoSource:
        """Return the source unchanged: any size can be drawn on."""
        return source

    @contextmanager
    def open(
        self, source: VideoSource, output: Output, model: Model, drawing: Drawing
    ) -> Iterator[OpenPlatform]:
        """Open inference and make the probes; see `Platform.open`."""
        window = usable_window() if output.kind == SCREEN else ""

        def describe(sink: SinkProperties, inference: bool) -> Description:
            return describe_graph(
                self.name,
                source,
                output.kind,
                replace(sink, window=window) if window else sink,
                self._mode,
                preview=drawing.preview is not None,
                recorder=drawing.recorder is not None,
            )

        with open_inference(self._settings, model, self._mode == "latest") as (
            inference,
            incidents,
        ):
            probes = MODES[self._mode](
                source.height,
                source.width,
                inference,
                drawing.controls,
                drawing.on_mask,
                drawing.results,
                drawing.max_mask_age_s,
                drawing.preview,
                drawing.recorder,
            )
            yield OpenPlatform(inference.card, probes, describe, incidents)


@contextmanager
def open_inference(
    settings: GStreamerSettings, model: Model, picture_first: bool = False
) -> Iterator[tuple[Inference, Callable[[], dict[str, int]]]]:
    """Open the inference that the settings ask for, and close it at the end of the `with` block.

    Args:
        settings: Backend and server address.
        model: A model of the repository.
        picture_first: Whether inference has a smaller share of the cores than the picture; not a
            server of the user's.

    Yields:
        The inference, and a function that returns `server_outages` and `server_restarts`. A server
        that was started for it stops with it.

    Raises:
        UserError: The model, the runtime or the server cannot be used.
    """
    if settings.backend in RUNTIMES:
        path = onnx_path(model.folder)
        opened = OnnxInference(path, settings.backend, settings.threads, picture_first)
        with closing(opened) as in_process:
            yield in_process, dict
        return
    card = read_model_card(model.repository, model.name)
    if settings.url:
        with closing(TritonInference(settings.url, model.name, card)) as remote:
            yield remote, lambda: {"server_outages": remote.outages, "server_restarts": 0}
        return
    own = ServerSettings(
        model.repository, (model.name,), http_port=0, grpc_port=0, metrics_port=0,
        low_priority=picture_first,
    )  # fmt: skip
    with supervised_server(own) as server:
        log.info("tritonserver serves %s at %s", model.name, server.grpc_url)
        with closing(TritonInference(server.grpc_url, model.name, card)) as local:
            server.failing_s = local.failing_s
            yield (
                local,
                lambda: {"server_outages": local.outages, "server_restarts": server.restarts},
            )
