"""Makes the clips of a benchmark: parts of a clip, at other sizes, as H.264."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from deepstream.graph.element_tables import X264_FILE
from deepstream.gstreamer import Gst
from deepstream.io.source import open_clip
from deepstream.probes.pixels import set_timestamp_ns, timestamp_ns
from xpnet.errors import UserError

SIZES = {"720p": (720, 1280), "1080p": (1080, 1920), "4k": (2160, 3840)}
"""Height and width by name."""


def parse_size(text: str) -> tuple[int, int]:
    """Convert `720p`, `1080p`, `4k` or WIDTHxHEIGHT to height and width.

    Args:
        text: A value of `--sizes`.

    Raises:
        UserError: It is none of these, or not even.
    """
    if text.lower() in SIZES:
        return SIZES[text.lower()]
    found = re.fullmatch(r"(\d{3,4})x(\d{3,4})", text)
    if found is None or int(found[1]) % 2 or int(found[2]) % 2:
        raise UserError(
            f"size '{text}': expected {', '.join(SIZES)}, or WIDTHxHEIGHT with even numbers of "
            "three or four digits"
        )
    return int(found[2]), int(found[1])


def scaled_clip(
    clip: Path, target: Path, size: tuple[int, int], seconds: float, start_s: float | None = None
) -> None:
    """Write a part of a clip at another size, encoded as `xpnet run` encodes files.

    Args:
        clip: Any video that GStreamer decodes.
        target: File to write, `.mp4`.
        size: Height and width.
        seconds: Its duration; that of the clip if the clip is shorter.
        start_s: Where it starts, in seconds; None: so that it ends with the clip.

    Raises:
        UserError: The clip cannot be decoded.
    """
    height, width = size
    options = {k: v for k, v in X264_FILE.items() if "{" not in v}
    encoder = " ".join(f"{key}={value}" for key, value in options.items())
    pipeline = Gst.parse_launch(
        f"uridecodebin name=source ! videoconvert ! videoscale ! video/x-raw,format=I420,"
        f"width={width},height={height},pixel-aspect-ratio=1/1 ! identity name=end "
        f"! x264enc {encoder} ! h264parse ! mp4mux ! filesink name=file"
    )
    pipeline.get_by_name("source").set_property("uri", clip.absolute().as_uri())
    pipeline.get_by_name("file").set_property("location", str(target))
    pad = pipeline.get_by_name("end").get_static_pad("sink")
    if start_s is None:
        start_s = max(0.0, open_clip(clip, 25).seconds - seconds)
    start_ns, end_ns = (round(time * Gst.SECOND) for time in (start_s, start_s + seconds))
    pad.add_probe(Gst.PadProbeType.BUFFER, _between(start_ns, end_ns))
    play_to_end(pipeline, str(clip))


def _between(start_ns: int, end_ns: int) -> Any:
    """Return a probe that drops the frames before and after, and lets the others begin earlier."""
    first: list[int] = []

    def probe(_pad: Any, info: Any) -> Any:
        stamp = timestamp_ns(info) or 0
        if not first:
            first.append(stamp)
        # Half a frame: durations in containers are rounded.
        if not start_ns <= stamp - first[0] + 10_000_000 < end_ns:
            return Gst.PadProbeReturn.DROP
        set_timestamp_ns(info, max(first[0], stamp - start_ns))
        return Gst.PadProbeReturn.OK

    return probe


def play_to_end(pipeline: Any, name: str, timeout_s: float = 600.0) -> None:
    """Play a pipeline until its stream ends, and stop it.

    Args:
        pipeline: A Gst.Pipeline.
        name: Its input, for the message.
        timeout_s: When to stop waiting.

    Raises:
        UserError: An element failed, or the stream did not end in time.
    """
    bus = pipeline.get_bus()
    kinds = Gst.MessageType.EOS | Gst.MessageType.ERROR
    pipeline.set_state(Gst.State.PLAYING)
    try:
        message = bus.timed_pop_filtered(round(timeout_s * Gst.SECOND), kinds)
        if message is None:
            raise UserError(f"{name}: no end of the stream within {timeout_s:g} s")
        if message.type == Gst.MessageType.ERROR:
            raise UserError(f"{name}: cannot be converted: {message.parse_error()[0].message}")
    finally:
        pipeline.set_state(Gst.State.NULL)
