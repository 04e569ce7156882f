"""The graph on plain GStreamer, from the file to the file.

uridecodebin | appsrc             a video, or a folder of images
videoconvert videoscale canvas    RGBA at the size that the clip declares, whatever comes
[clocksync]                       mode `latest`: at the clip's own rate
pacer                 <- probe    hands frames to inference
inflight (queue)                  as many frames as inference holds
overlay               <- probe    draws the masks
drawn (queue)
videocrop videoconvert x264enc h264parse      even size: H.264 has no odd ones
mp4mux | matroskamux  filesink
  ^ queue audioconvert audioresample avenc_aac aacparse       where there is sound
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from deepstream.gstreamer import GLib, Gst
from deepstream.pixels import timestamp_ns
from deepstream.probe import MaskProbes
from deepstream.source import Clip, ImageFeeder
from xpnet.errors import UserError
from xpnet.inference import IN_FLIGHT

MUXERS = {".mp4": "mp4mux", ".mkv": "matroskamux"}
"""The container of the output, by its suffix."""

# `quantizer` 20 shows no artefact on mucosa; `veryfast` leaves the cores to inference.
VIDEO = """
    videoconvert name=input ! videoscale add-borders=true ! capsfilter name=canvas
    ! {pacer} name=pacer
    ! queue name=inflight max-size-buffers={in_flight} max-size-bytes=0 max-size-time=0
    ! identity name=overlay silent=true
    ! queue name=drawn max-size-buffers=4 max-size-bytes=0 max-size-time=0
    ! videocrop right={odd_width} bottom={odd_height} ! videoconvert ! video/x-raw,format=I420
    ! x264enc pass=quant quantizer=20 speed-preset=veryfast key-int-max=50
    ! h264parse ! {muxer} name=muxer ! filesink name=sink
"""
AUDIO = """
    queue name=sound max-size-buffers=0 max-size-bytes=0 max-size-time=0
    ! audioconvert ! audioresample ! avenc_aac ! aacparse
"""


class Graph:
    """A built pipeline, its probes attached, ready to play; `location` is what filesink writes."""

    def __init__(self, clip: Clip, location: Path, muxer: str, mode: str, probes: MaskProbes):
        self.clip = clip
        self._linked: set[str] = set()
        self.last_sound_ns = 0
        self.pipeline = _parse(
            VIDEO.format(
                pacer="clocksync" if mode == "latest" else "identity silent=true",
                in_flight=IN_FLIGHT - 1,  # one more waits in the overlay probe
                odd_width=clip.width % 2,
                odd_height=clip.height % 2,
                muxer=muxer,
            )
        )
        self.element("canvas").set_property(
            "caps",
            Gst.Caps.from_string(
                # A free aspect ratio would change with the input's size, and no muxer takes that.
                f"video/x-raw,format=RGBA,width={clip.width},height={clip.height},"
                f"pixel-aspect-ratio={clip.pixel_aspect_ratio}"
            ),
        )
        self.element("sink").set_property("location", str(location))
        probes.attach(
            self.element("pacer").get_static_pad("src"),
            self.element("overlay").get_static_pad("src"),
        )
        self.source = self._add_source()
        if clip.has_audio:
            self._add_audio()

    def element(self, name: str) -> Any:
        """The element called `name`, as in the header of this file."""
        return self.pipeline.get_by_name(name)

    def end(self) -> None:
        """Lets what is inside run out, so that the file is finished: end of stream at its head."""
        for name in ("input", "sound"):
            element = self.element(name)
            if element is not None:
                element.get_static_pad("sink").send_event(Gst.Event.new_eos())

    def blames_source(self, message: Any) -> bool:
        """Whether an error message comes from the source or one of its decoders."""
        return bool(message.src is self.source or message.src.has_as_ancestor(self.source))

    def _add_source(self) -> Any:
        if self.clip.images:
            source = Gst.ElementFactory.make("appsrc", "source")
            self.feeder = ImageFeeder(self.clip, source)
            self.pipeline.add(source)
            source.link(self.element("input"))
            return source
        source = Gst.ElementFactory.make("uridecodebin", "source")
        source.set_property("uri", self.clip.path.absolute().as_uri())
        source.connect("pad-added", self._pad_added)
        source.connect("no-more-pads", self._no_more_pads)
        self.pipeline.add(source)
        return source

    def _add_audio(self) -> None:
        branch = Gst.parse_bin_from_description(AUDIO, True)
        branch.set_name("audio")
        self.pipeline.add(branch)
        branch.link(self.element("muxer"))
        sound = self.element("sound").get_static_pad("sink")
        sound.add_probe(Gst.PadProbeType.BUFFER, self._sound_passes)

    def _sound_passes(self, _pad: Any, info: Any) -> Any:
        self.last_sound_ns = max(self.last_sound_ns, timestamp_ns(info) or 0)
        return Gst.PadProbeReturn.OK

    def _pad_added(self, source: Any, pad: Any) -> None:
        """Links the first picture and the first sound; further streams of a file are left out."""
        caps = pad.get_current_caps() or pad.query_caps(None)
        kind = caps.get_structure(0).get_name()
        targets = {"video/x-raw": "input", "audio/x-raw": "audio"}
        target = self.element(targets.get(kind, "")) if kind in targets else None
        if target is None or kind in self._linked:
            return
        self._linked.add(kind)
        linked = pad.link(target.get_static_pad("sink"))
        if linked != Gst.PadLinkReturn.OK:
            error = GLib.Error.new_literal(
                Gst.stream_error_quark(),
                f"cannot use {caps.to_string()[:100]} ({linked.value_nick})",
                Gst.StreamError.FORMAT,
            )
            source.post_message(Gst.Message.new_error(source, error, None))

    def _no_more_pads(self, _source: Any) -> None:
        """Sound that was announced and never came must not keep the muxer waiting."""
        sound = self.element("sound")
        if sound is not None and "audio/x-raw" not in self._linked:
            sound.get_static_pad("sink").send_event(Gst.Event.new_eos())


def _parse(description: str) -> Any:
    try:
        return Gst.parse_launch(description)
    except GLib.Error as error:
        raise UserError(f"the graph cannot be built: {error.message}") from error


def muxer_for(output: Path) -> str:
    """The muxer for an output's suffix. Raises UserError for another one."""
    if output.suffix.lower() not in MUXERS:
        raise UserError(f"{output}: expected a name that ends in {' or '.join(MUXERS)}")
    return MUXERS[output.suffix.lower()]
