"""The graph of a platform: its description, and the built pipeline with its probes.

Plain GStreamer, file to file (`xpnet run graph` prints or draws it):

    uridecodebin                      decode
    videoconvert deinterlace          deinterlace, if the file needs it (and videoflip: rotate)
    videoconvert videoscale canvas    the decoder's own format, at the size that the file declares
    pacer                 <- probe    submit the frame to inference
    inflight (queue)                  as many frames as inference processes at a time
    overlay               <- probe    draw the mask
    drawn (queue)
    videocrop videoconvert x264enc h264parse      even size, which H.264 requires; nothing else
                                      changes, so the picture outside the masks stays as decoded
    mp4mux | matroskamux  filesink
      ^ queue audioconvert audioresample avenc_aac aacparse       audio, if the file has any

Mode `latest` has, in the place of `pacer` and `inflight`:

    pacer fork (tee)                  each frame at its time; the picture goes on at once
      v newest (queue) inference (fakesink)  <- probe   compute the mask of the newest frame

DeepStream:

    nvurisrcbin                       decode in hardware
    nvstreammux                       scale to one size, attach NVIDIA's metadata
    nvinferserver                     run Triton; the mask becomes metadata of the frame
    inflight (queue) nvvideoconvert canvas        RGBA, in memory that a probe can read
    nvdsosd               <- probe    the probe draws the mask, nvdsosd the text
    drawn (queue) nvvideoconvert nvv4l2h264enc h264parse
    mp4mux | matroskamux  filesink
      ^ filesrc parsebin queue        audio as it is stored in the file, if it has any
"""

from __future__ import annotations

import time
from typing import Any

from deepstream.graph.description import Description, assemble_description
from deepstream.graph.element_tables import MEMORY, TABLES
from deepstream.graph.pipeline_builder import build
from deepstream.gstreamer import Gst
from deepstream.io.colour_tags import keep_colour_tags
from deepstream.io.file_source import RisingTimestamps
from deepstream.io.live_source import LiveSource
from deepstream.io.output import SinkProperties
from deepstream.io.source import LIVE_FILE, ImageFeeder, VideoSource
from deepstream.io.track_end import CompleteTrack
from deepstream.io.v4l2 import rate_caps
from deepstream.probes.base import Probes
from deepstream.probes.pixels import timestamp_ns
from deepstream.probes.video_frame import (
    DRAWN_FORMATS,
    YUV_FORMATS,
    default_colorimetry,
    format_caps,
)
from xpnet.inference import IN_FLIGHT
from xpnet.platforms import GSTREAMER

RTSP_LATENCY_MS = 100
"""How long an RTSP source waits for late packets."""
WAITING = 6
"""Frames of a live source that may wait for the picture's path in mode `latest`."""
LIVE_BITRATE = 8_000_000
"""Bits per second of a live H.264 stream, and of the hardware encoder."""


def describe_graph(
    platform: str,
    source: VideoSource,
    sink_kind: str,
    sink: SinkProperties,
    mode: str = "every",
    *,
    infer_config: str = "",
    hardware_encoder: bool = False,
    interval: int = 0,
    preview: bool = False,
    recorder: bool = False,
) -> Description:
    """Describe the graph of a platform.

    Args:
        platform: One of xpnet.platforms.GRAPHS.
        source: The opened source.
        sink_kind: `file`, `screen`, `drm`, `none` or `rtsp`.
        sink: Properties of the opened output.
        mode: `every`, `latest`, or on DeepStream `none` for a graph without inference.
        infer_config: Path of nvinferserver's config; DeepStream only.
        hardware_encoder: Whether to encode with NVENC; DeepStream only.
        interval: Frames that nvinferserver skips after each frame; DeepStream only.
        preview: Whether to add the branch for the HTTP service.
        recorder: Whether to add the branch for recording.

    Raises:
        UserError: The platform has no such source, mode or sink.
    """
    values = {
        "location": sink.location,
        "muxer": sink.muxer,
        "rtp_port": sink.rtp_port,
        "window": sink.window,
        "uri": source.uri,
        "path": str(source.path),
        "audio_format": source.audio_format,
        "device": source.device,
        "rate": rate_caps(source.fps),
        "height": str(source.height),
        "width": str(source.width),
        "odd_height": str(source.height % 2),
        "odd_width": str(source.width % 2),
        "pixel_aspect_ratio": source.pixel_aspect_ratio,
        **format_values(source),
        "live": str(source.is_live).lower(),
        "sync": str(not source.is_live).lower(),  # a live frame is shown as soon as it arrives
        "latency_ms": str(RTSP_LATENCY_MS),
        "in_flight": str(IN_FLIGHT - 1),  # one more waits in the overlay probe
        "memory": MEMORY[platform],
        "bits": str(LIVE_BITRATE),
        "kilobits": str(LIVE_BITRATE // 1000),
        "infer_config": infer_config,
        "interval": str(interval),
        # Where no frame waits for inference, a pause of this process costs no frame; elsewhere each
        # frame that waits would be a frame of delay.
        "waiting": str(WAITING if platform == GSTREAMER and mode == "latest" else 1),
    }
    kind = f"{source.kind}-rotated" if source.rotates and platform == GSTREAMER else source.kind
    encoder = "hardware" if hardware_encoder else "software"
    if source.is_live or sink_kind == "rtsp":
        encoder += "-live"
    sound = sink_kind == "file" and has_output_audio(platform, source, sink.muxer)
    return assemble_description(
        platform,
        TABLES[platform],
        kind,
        sink_kind,
        mode,
        encoder,
        values,
        sound,
        preview,
        recorder,
    )


def format_values(source: VideoSource) -> dict[str, str]:
    """Return formats and tags of the frames of a source, on plain GStreamer.

    A file is encoded in the format that it has. RGB and live sources are encoded in 4:2:0, which
    every viewer can decode.

    Args:
        source: The opened source.
    """
    colours = source.colours
    rgb = bool(source.images) or colours.rgb
    drawn, encoded = (format_caps(YUV_FORMATS),) * 2
    if rgb:
        # RGB is converted here, so the file must state with which matrix.
        drawn, encoded = "RGBA", f"I420,colorimetry={default_colorimetry(source.height)}"
    elif source.is_live:
        drawn, encoded = format_caps(DRAWN_FORMATS), "I420"
    return {
        "drawn_formats": drawn,
        "encoded_formats": encoded,
        "write_tags": str(not colours.untagged).lower(),
        "x264_options": "fullrange=on" if colours.untagged and colours.full_range else "",
    }


def has_output_audio(platform: str, source: VideoSource, muxer: str) -> bool:
    """Return whether the audio of a source goes into the output file.

    DeepStream's graph copies audio as it is stored, which not every container accepts.

    Args:
        platform: One of xpnet.platforms.GRAPHS.
        source: The opened source.
        muxer: The muxer of the file; empty for no file.
    """
    if not (source.has_audio and muxer) or platform == GSTREAMER:
        return source.has_audio and bool(muxer)
    stored = Gst.Caps.from_string(source.audio_caps)
    return any(
        template.direction == Gst.PadDirection.SINK and template.get_caps().can_intersect(stored)
        for template in Gst.ElementFactory.find(muxer).get_static_pad_templates()
    )


class Graph:
    """A built pipeline with its probes attached, ready to play.

    Attributes:
        source: What it plays.
        description: What it was built from.
        pipeline: The Gst.Pipeline.
        last_sound_ns: Timestamp of the newest audio buffer.
        live: The live source, or None.
    """

    def __init__(self, source: VideoSource, description: Description, probes: Probes) -> None:
        self.source, self.description = source, description
        self.last_sound_ns = 0
        self.pipeline = build(description)
        for point in description.probes:
            pad = self.element(point.element).get_static_pad(point.pad)
            pad.add_probe(Gst.PadProbeType.BUFFER, probes.guarded(point.handler))
        if source.images:
            self.feeder = ImageFeeder(source, self.element("source"))
        entry = self.element("input")  # plain GStreamer's; nvstreammux has a pad later
        if source.kind == "file" and entry is not None:
            RisingTimestamps(entry.get_static_pad("sink"))
        parsers = [link.source for link in description.links if link.target == "muxer"]
        if any(row.factory == "x264enc" for row in description.elements) and parsers:
            CompleteTrack(self.element("encoder"), self.element(parsers[0]))
        sound = self.element("sound")
        if sound is not None:
            pad = sound.get_static_pad("sink")
            pad.add_probe(Gst.PadProbeType.BUFFER, self._record_sound_time)
        if source.kind in ("file", LIVE_FILE) and description.platform == GSTREAMER:
            keep_colour_tags(self.pipeline, source.colours.untagged)
        if probes.recorder is not None:
            probes.recorder.attach(self.pipeline, probes.statistics)
        self.live = LiveSource(self.pipeline, description) if source.is_live else None

    def element(self, name: str) -> Any:
        """Return the element of this name, or None. Names are listed at the top of this file."""
        return self.pipeline.get_by_name(name)

    def end(self, failed_element: str = "") -> None:
        """Send an end of stream, so that frames inside the graph are encoded and the file ends.

        Args:
            failed_element: An element that blocks the stream; the end is sent behind it.
        """
        if self.live is not None:
            self.live.finish()
        blocked = self.description.upstream(failed_element) if failed_element else set()
        pads = [(link.target, link.target_pad or "sink") for link in self.description.links
                if link.source == failed_element]  # fmt: skip
        pads += [head for head in self.description.eos_pads if head[0] not in blocked]
        for name, pad in pads:
            head = self.element(name).get_static_pad(pad)
            if head is not None:  # a request pad exists only after the first stream
                head.send_event(Gst.Event.new_eos())

    def complete_recording(self) -> None:
        """Let the frames in the branch of a recording be written; waits for up to a second."""
        queue, frames = self.element("recorded_queue"), self.element("recorded_frames")
        if queue is None:
            return
        queue.get_static_pad("sink").send_event(Gst.Event.new_eos())
        deadline = time.monotonic() + 1.0
        while not frames.get_property("eos") and time.monotonic() < deadline:
            time.sleep(0.01)

    def failed_element(self, message: Any) -> str:
        """Return the element of the description that an error message comes from, or is inside."""
        for row in self.description.elements:
            element = self.element(row.name)
            if message.src is element or message.src.has_as_ancestor(element):
                return row.name
        return ""

    def _record_sound_time(self, _pad: Any, info: Any) -> Any:
        self.last_sound_ns = max(self.last_sound_ns, timestamp_ns(info) or 0)
        return Gst.PadProbeReturn.OK
