"""The graph: described for its platform, built, and with its probes on.

On plain GStreamer, from a file to a file (`xpnet run graph --platform gstreamer` draws it):

    uridecodebin                      the clip
    videoconvert deinterlace videoflip    whole and upright, where the file is not
    videoconvert videoscale canvas    RGBA at the size that the clip declares, whatever comes
    pacer                 <- probe    hands frames to inference; mode `latest`: at the clip's rate
    inflight (queue)                  as many frames as inference holds
    overlay               <- probe    draws the masks
    drawn (queue)
    videocrop videoconvert x264enc h264parse      even size: H.264 has no odd ones
    mp4mux | matroskamux  filesink
      ^ queue audioconvert audioresample avenc_aac aacparse       where there is sound

On DeepStream:

    nvurisrcbin                       the clip, decoded in hardware
    nvstreammux                       one size, and NVIDIA's metadata on each frame
    nvinferserver                     Triton; the mask becomes metadata of its frame
    inflight (queue) nvvideoconvert canvas        RGBA, in memory that a probe can see
    nvdsosd               <- probe    draws the masks, then text beside them
    drawn (queue) nvvideoconvert nvv4l2h264enc h264parse
    mp4mux | matroskamux  filesink
      ^ filesrc parsebin queue      where there is sound, as it is stored in the clip
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from deepstream.graph.description import Description, describe
from deepstream.graph.element_tables import MEMORY, TABLES
from deepstream.graph.pipeline_builder import build
from deepstream.gstreamer import Gst
from deepstream.io.live_source import LiveSource
from deepstream.io.source import Clip, ImageFeeder
from deepstream.io.v4l2 import rate_caps
from deepstream.probes.base import Probes
from deepstream.probes.pixels import timestamp_ns
from xpnet.errors import UserError
from xpnet.inference import IN_FLIGHT
from xpnet.platforms import GSTREAMER

LATENCY_MS = 100
"""What an RTSP source may wait for late packets."""
BITS_A_SECOND = 8_000_000
"""Of a live H.264 stream, and of the hardware encoder."""
INTERVAL, LONGEST_INTERVAL = 1, 30
"""In mode `latest` on DeepStream every second frame gets a mask of its own, unless told; a mask is
shown for a second at most (OLDEST_MASK_S)."""


def describe_graph(
    platform: str,
    clip: Clip,
    sink: str,
    words: Mapping[str, str],
    mode: str = "every",
    infer_config: str = "",
    hardware_encoder: bool = False,
    interval: int = INTERVAL,
) -> Description:
    """The graph of a platform, from a clip to a kind of sink (file, screen, rtsp).

    `words` are the output's own: `location`, `muxer`, `rtp_port`; `interval` the frames that
    nvinferserver leaves out after each that it looks at, in mode `latest`. Raises UserError as
    `describe`.
    """
    values = {
        **words,
        "uri": clip.uri,
        "path": str(clip.path),
        "stored_sound": clip.stored_sound,
        "device": clip.device,
        "rate": rate_caps(clip.fps),
        "height": str(clip.height),
        "width": str(clip.width),
        "odd_height": str(clip.height % 2),
        "odd_width": str(clip.width % 2),
        "pixel_aspect_ratio": clip.pixel_aspect_ratio,
        "live": str(clip.live).lower(),
        "sync": str(not clip.live).lower(),  # a live frame is shown when it is there
        "latency_ms": str(LATENCY_MS),
        "in_flight": str(IN_FLIGHT - 1),  # one more waits in the overlay probe
        "memory": MEMORY[platform],
        "bits": str(BITS_A_SECOND),
        "kilobits": str(BITS_A_SECOND // 1000),
        "infer_config": infer_config,
        "interval": str(interval),
    }
    encoder = "hardware" if hardware_encoder else "software"
    if clip.live or sink == "rtsp":
        encoder += "-live"
    sound = sink == "file" and has_sound(platform, clip, words["muxer"])
    return describe(platform, TABLES[platform], clip.kind, sink, mode, encoder, values, sound)


def has_sound(platform: str, clip: Clip, muxer: str) -> bool:
    """Whether the sound of a clip goes into the file; without a `muxer` there is no file.

    DeepStream's graph hands it on as it is stored, which not every container takes.
    """
    if not (clip.has_audio and muxer) or platform == GSTREAMER:
        return clip.has_audio and bool(muxer)
    stored = Gst.Caps.from_string(clip.audio_caps)
    return any(
        template.direction == Gst.PadDirection.SINK and template.get_caps().can_intersect(stored)
        for template in Gst.ElementFactory.find(muxer).get_static_pad_templates()
    )


def checked_interval(interval: int | None, platform: str, mode: str) -> int:
    """The frames that nvinferserver leaves out after each that it looks at; None: as is usual.

    Raises:
        UserError: given where nothing is left out, or too large for a mask to be shown.
    """
    latest = platform != GSTREAMER and mode == "latest"
    if interval is None:
        return INTERVAL if latest else 0
    if not latest:
        raise UserError("--interval belongs to --mode latest on DeepStream")
    if not 1 <= interval <= LONGEST_INTERVAL:
        raise UserError(f"--interval {interval}, expected 1 to {LONGEST_INTERVAL}")
    return interval


class Graph:
    """A built pipeline, its probes attached, ready to play."""

    def __init__(self, clip: Clip, description: Description, probes: Probes) -> None:
        self.clip, self.description = clip, description
        self.last_sound_ns = 0
        self.pipeline = build(description)
        for point in description.probes:
            pad = self.element(point.element).get_static_pad(point.pad)
            pad.add_probe(Gst.PadProbeType.BUFFER, probes.guarded(point.handler))
        if clip.images:
            self.feeder = ImageFeeder(clip, self.element("source"))
        sound = self.element("sound")
        if sound is not None:
            pad = sound.get_static_pad("sink")
            pad.add_probe(Gst.PadProbeType.BUFFER, self._sound_passes)
        self.live = LiveSource(self.pipeline, description) if clip.live else None

    def element(self, name: str) -> Any:
        """The element called `name`, as in the header of this file."""
        return self.pipeline.get_by_name(name)

    def end(self, failed: str = "") -> None:
        """Lets what is inside run out, so that the file is finished: end of stream at its head.

        Where the element `failed` stands in the way, behind it.
        """
        stuck = self.description.upstream(failed) if failed else set()
        pads = [(link.target, link.target_pad or "sink") for link in self.description.links
                if link.source == failed]  # fmt: skip
        pads += [head for head in self.description.heads if head[0] not in stuck]
        for name, pad in pads:
            head = self.element(name).get_static_pad(pad)
            if head is not None:  # a requested pad comes with the first stream
                head.send_event(Gst.Event.new_eos())

    def blamed(self, message: Any) -> str:
        """The name of the element of the description that an error message comes from, or in."""
        for row in self.description.elements:
            element = self.element(row.name)
            if message.src is element or message.src.has_as_ancestor(element):
                return row.name
        return ""

    def _sound_passes(self, _pad: Any, info: Any) -> Any:
        self.last_sound_ns = max(self.last_sound_ns, timestamp_ns(info) or 0)
        return Gst.PadProbeReturn.OK
