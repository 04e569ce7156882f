"""One measured run of the graph, in a process of its own: `python -m deepstream.bench.jobs FILE`.

FILE contains a Job as JSON. The process prints `ready` when inference works, waits for a line on
its standard input, so that several runs start together, and prints its result as one line of JSON.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from deepstream.bench.measured_probes import (
    AS_RUN,
    FROM_SOURCE,
    MEASURED,
    PARTS,
    TO_SINK,
    Measuring,
    count_copies,
    memory_points,
    with_probes,
)
from deepstream.control.controls import Controls
from deepstream.graph.description import Description
from deepstream.graph.pipeline import describe_graph
from deepstream.gstreamer import Gst
from deepstream.io.output import SinkProperties, free_udp_port, parse_output
from deepstream.io.source import open_source
from deepstream.platforms.base import Model
from deepstream.platforms.gstreamer_platform import GStreamerSettings, open_inference
from deepstream.player import play
from deepstream.statistics import RunStatistics, percentiles_ms
from xpnet.errors import UserError
from xpnet.host.interrupts import interrupted_when
from xpnet.paths import MODEL_REPOSITORY
from xpnet.platforms import GSTREAMER
from xpnet.serving.model_config import DEFAULT_MODEL

OVERLAY, NETWORK = "overlay", "overlay, encode, RTP, decode"
"""Chains from source to sink whose delay is measured."""
RECEIVER = (
    'udpsrc address=127.0.0.1 port={port} buffer-size=4194304 caps="application/x-rtp,media=video,'
    'clock-rate=90000,encoding-name=H264,payload=96" ! rtph264depay ! h264parse ! avdec_h264 '
    "! fakesink name=received sync=false"
)


@dataclass(frozen=True)
class Job:
    """What to run and what to measure.

    Attributes:
        kind: `parts` (times of the parts), `glass` (delay from source to sink) or `copies`.
        input: As of `xpnet run`.
        output: As of `xpnet run`; for `glass` always `none`.
        mode: `every` or `latest`.
        backend: As of `xpnet run`.
        url: HOST:PORT of a running Triton, or empty.
        model: A model of the repository.
        repository: The model repository.
        seconds: When to stop a live source, counted from its first frame.
        chain: For `glass`, OVERLAY or NETWORK.
        enabled: Whether masks are drawn.
        signs: Whether signs are drawn; None: in mode `latest`.
    """

    kind: str
    input: str
    output: str = "none"
    mode: str = "every"
    backend: str = "openvino"
    url: str = ""
    model: str = DEFAULT_MODEL
    repository: str = str(MODEL_REPOSITORY)
    seconds: float = 0.0
    chain: str = OVERLAY
    enabled: bool = True
    signs: bool | None = None


def run_job(job: Job, wait: Any = None) -> dict[str, Any]:
    """Run a job in this process and return its result.

    Args:
        job: What to run.
        wait: Called before the first frame, when inference works.

    Raises:
        UserError: As `deepstream.run.run`.
    """
    live = job.kind == "glass"
    source = open_source(f"live:{job.input}" if live else job.input, None, None, None)
    output = parse_output("none" if live else job.output)
    signs = job.mode == "latest" if job.signs is None else job.signs
    controls = Controls(replace(AS_RUN, enabled=job.enabled, signs=signs))
    model = Model(Path(job.repository), job.model)
    with open_inference(GStreamerSettings(job.backend, job.url), model) as (inference, _):
        probes = MEASURED[job.mode](source.height, source.width, inference, controls)
        described: list[Description] = []
        port = free_udp_port() if live and job.chain == NETWORK else 0

        def describe(sink: SinkProperties, _inference: bool) -> Description:
            kind = "rtsp" if port else output.kind
            properties = SinkProperties(rtp_port=str(port)) if port else sink
            plain = describe_graph(GSTREAMER, source, kind, properties, job.mode)
            described.append(with_probes(plain, _points(job, plain)))
            return described[-1]

        if wait is not None:
            wait()
        live_s = job.seconds if live else 0.0
        with _receiving(port, probes), _stopping(live_s, probes.statistics):
            outcome = play(source, output, probes, describe)
    if probes.statistics.probe_errors:
        raise UserError(f"the measurement failed: {probes.statistics.probe_error}")
    return {"ending": outcome.ending.value, **_result(job, probes, described[-1])}


def _points(job: Job, description: Description) -> list[Any]:
    if job.kind == "copies":
        return memory_points(description)
    if job.kind == "glass":
        return [FROM_SOURCE] if job.chain == NETWORK else [FROM_SOURCE, TO_SINK]
    return list(PARTS)


def _result(job: Job, probes: Measuring, description: Description) -> dict[str, Any]:
    if job.kind == "copies":
        return count_copies(probes.memory, description)
    summary = probes.statistics.summary()
    common = {name: summary[name] for name in ("frames", "fps", "frames_without_mask")}
    common |= {name: summary[name] for name in ("latency_ms", "mask_age_ms", "lateness_ms")}
    if job.kind == "glass":
        glass = {"glass_ms": percentiles_ms(probes.glass_s), "unreadable": probes.unreadable}
        return {**common, **glass, "read": len(probes.glass_s)}
    parts = {"decode": percentiles_ms(probes.decode_s)}
    for name in ("preprocess", "inference", "mask", "overlay"):
        parts[name] = summary[f"{name}_ms"]
    parts["encode"] = percentiles_ms(probes.encode_s)
    elements = [row.name for row in description.elements]
    return {**common, "parts": parts, "elements": elements}


@contextmanager
def _receiving(port: int, probes: Measuring) -> Iterator[None]:
    """Receive and decode RTP packets of a port during the `with` block; nothing for port 0."""
    if not port:
        yield
        return
    pipeline = Gst.parse_launch(RECEIVER.format(port=port))
    pad = pipeline.get_by_name("received").get_static_pad("sink")
    number = pad.add_probe(Gst.PadProbeType.BUFFER, probes.guarded("frame_seen"))
    pipeline.set_state(Gst.State.PLAYING)
    try:
        yield
    finally:
        pad.remove_probe(number)  # a pad that is stopped has no format any more
        pipeline.set_state(Gst.State.NULL)


def _stopping(seconds: float, statistics: RunStatistics) -> AbstractContextManager[None]:
    """Interrupt the run of the `with` block some time after its first frame; 0: never."""
    if not seconds:
        return nullcontext()
    return interrupted_when(lambda: 0 < statistics.first_frame_s < time.monotonic() - seconds)


def _wait_for_line() -> None:
    print("ready", flush=True)
    sys.stdin.readline()


def main() -> int:
    """Run the job of the file that the command line names."""
    try:
        job = Job(**json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
        print(json.dumps(run_job(job, _wait_for_line)), flush=True)
    except UserError as error:
        print(json.dumps({"error": str(error)}), flush=True)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
