"""Keeps what a video file states about its colours: matrix, range, or nothing.

Players use these tags to convert YUV to RGB. GStreamer 1.22 changes them on the way from a file to
a file in three places, which this module mends:

- qtdemux reads the matrix of an MP4 file, but not its range, and h264parse prefers that to the
  stream's own tags: a full-range video becomes one of limited range.
- A video that states its range but no matrix loses both (gst_video_info_from_caps).
- A video that states nothing is encoded with GStreamer's guess as a fact. `insert-vui=false` (in
  element_tables.py) keeps it out of the stream, but x264enc passes it on to the muxer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from deepstream.gstreamer import Gst, GstVideo
from deepstream.probes.pixels import replace_event
from deepstream.probes.video_frame import default_colorimetry

PARSERS = ("h264parse", "h265parse")
"""Elements that read the tags inside a stream."""
FIELD = "colorimetry"
FULL_RANGE, NO_MATRIX = "1:", "0"
"""In `range:matrix:transfer:primaries`; GStreamer's names, such as `bt709`, imply a matrix."""
PREROLL_S = 5
_MATRIX_NUMBERS = {"bt709": "3", "bt601": "4"}


@dataclass(frozen=True)
class FileColours:
    """What a video file states about its colours.

    Attributes:
        rgb: Whether its frames are RGB, which has no matrix.
        untagged: Whether it states no matrix, so that players guess it.
        full_range: Whether it states that its values have the full range.
    """

    rgb: bool = False
    untagged: bool = False
    full_range: bool = False


def keep_colour_tags(pipeline: Any, untagged: bool) -> None:
    """Attach the probes to a graph from a file, before it plays.

    Args:
        pipeline: A Gst.Pipeline with the elements `source`, `decoded`, and `encoder` if it encodes.
        untagged: Whether the file leaves the matrix to the player's guess.
    """
    source = pipeline.get_by_name("source")
    source.connect("deep-element-added", lambda _bin, _parent, element: _prefer_stream(element))
    _on_caps(pipeline.get_by_name("decoded").get_static_pad("sink"), _with_matrix)
    encoder = pipeline.get_by_name("encoder")
    if untagged and encoder is not None:
        _on_caps(encoder.get_static_pad("src"), lambda caps: _with_tag(caps, None))


def read_colours(uri: str) -> FileColours:
    """Decode the first frame of a file and return what it states about its colours.

    Args:
        uri: The URI of the file. If it cannot be decoded, playing it reports why.
    """
    pipeline = Gst.parse_launch(
        "uridecodebin name=source caps=video/x-raw(ANY) ! fakesink name=frame sync=false"
    )
    pipeline.get_by_name("source").set_property("uri", uri)
    pipeline.set_state(Gst.State.PAUSED)
    try:
        pipeline.get_state(PREROLL_S * Gst.SECOND)
        caps = pipeline.get_by_name("frame").get_static_pad("sink").get_current_caps()
    finally:
        pipeline.set_state(Gst.State.NULL)
    info = GstVideo.VideoInfo.new_from_caps(caps) if caps is not None else None
    if info is None:
        return FileColours()
    if info.finfo.flags & GstVideo.VideoFormatFlags.RGB:
        return FileColours(rgb=True)
    tag = caps.get_structure(0).get_string(FIELD)
    return FileColours(untagged=not _has_matrix(tag), full_range=(tag or "").startswith(FULL_RANGE))


def _has_matrix(tag: str | None) -> bool:
    return tag is not None and tag.split(":")[1:2] != [NO_MATRIX]


def _prefer_stream(element: Any) -> None:
    """Let a parser read the stream's own tags, and use the container's if there are none."""
    factory = element.get_factory()
    if factory is None or factory.get_name() not in PARSERS:
        return
    container: list[str | None] = [None]

    def take(caps: Any) -> Any:
        container[0] = caps.get_structure(0).get_string(FIELD)
        return _with_tag(caps, None)

    def give_back(caps: Any) -> Any:
        has_tag = caps.get_structure(0).has_field(FIELD)
        return caps if has_tag or container[0] is None else _with_tag(caps, container[0])

    _on_caps(element.get_static_pad("sink"), take)
    _on_caps(element.get_static_pad("src"), give_back)


def _with_matrix(caps: Any) -> Any:
    """Return caps of decoded video with a matrix, if they have a range only."""
    fields = caps.get_structure(0)
    tag = fields.get_string(FIELD)
    if tag is None or _has_matrix(tag):
        return caps
    found, height = fields.get_int("height")
    parts = tag.split(":")
    parts[1] = _MATRIX_NUMBERS[default_colorimetry(height if found else 0)]
    return _with_tag(caps, ":".join(parts))


def _with_tag(caps: Any, tag: str | None) -> Any:
    """Return a copy of caps with another colorimetry, or with none."""
    fields = caps.get_structure(0).copy()  # PyGObject gives a copy, so caps cannot be edited
    if tag is None:
        fields.remove_field(FIELD)
    else:
        fields.set_value(FIELD, tag)
    changed = Gst.Caps.new_empty()
    changed.append_structure(fields)
    return changed


def _on_caps(pad: Any, change: Callable[[Any], Any]) -> None:
    """Replace the caps that pass a pad by those that `change` returns."""

    def probe(_pad: Any, info: Any) -> Any:
        event = info.get_event()
        if event.type == Gst.EventType.CAPS:
            caps = event.parse_caps()
            changed = change(caps)
            if not changed.is_equal(caps):
                replace_event(info, Gst.Event.new_caps(changed))
        return Gst.PadProbeReturn.OK

    pad.add_probe(Gst.PadProbeType.EVENT_DOWNSTREAM, probe)
