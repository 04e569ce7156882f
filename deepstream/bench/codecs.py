"""Decoder and encoder alone, as fast as they can."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepstream.bench.clips import play_to_end
from deepstream.gstreamer import Gst
from deepstream.probes.pixels import mapped_frame
from deepstream.probes.video_frame import FrameFormat, read_format

KEPT_FRAMES = 24
"""Decoded frames that the parts work on; of 3840 x 2160 they take 300 MB."""
SKIPPED = 5
"""First times of a part, which are slower: caches are cold, and an encoder looks ahead."""


def decode(clip: Path) -> tuple[list[float], FrameFormat, list[bytes]]:
    """Decode a clip as fast as possible.

    Args:
        clip: A video file.

    Returns:
        Times from one frame to the next in seconds, the frames' format, and some of the frames.

    Raises:
        UserError: It cannot be decoded.
    """
    arrived: list[float] = []
    pipeline = _decoding(clip)

    def note(_pad: Any, _info: Any) -> Any:
        arrived.append(time.perf_counter())
        return Gst.PadProbeReturn.OK

    pad = pipeline.get_by_name("sink").get_static_pad("sink")
    pad.add_probe(Gst.PadProbeType.BUFFER, note)
    play_to_end(pipeline, str(clip))
    step = max(1, len(arrived) // KEPT_FRAMES)
    kept: list[bytes] = []
    forms: list[FrameFormat] = []
    pipeline, numbers = (
        _decoding(clip, "! videoconvert ! video/x-raw,format=I420"),
        iter(range(10**9)),
    )

    def keep(pad: Any, info: Any) -> Any:
        if next(numbers) % step == 0 and len(kept) < KEPT_FRAMES:
            forms.append(read_format(pad.get_current_caps()))
            kept.append(plain_bytes(info, forms[-1]))
        return Gst.PadProbeReturn.OK

    pad = pipeline.get_by_name("sink").get_static_pad("sink")
    pad.add_probe(Gst.PadProbeType.BUFFER, keep)
    play_to_end(pipeline, str(clip))
    return list(np.diff(arrived)[SKIPPED:]), forms[0], kept


def _decoding(clip: Path, convert: str = "") -> Any:
    pipeline = Gst.parse_launch(
        f"uridecodebin name=source caps=video/x-raw {convert} ! fakesink name=sink sync=false"
    )
    pipeline.get_by_name("source").set_property("uri", clip.absolute().as_uri())
    return pipeline


def plain_bytes(info: Any, form: FrameFormat) -> bytes:
    """Return the planes of a probe's buffer in the layout of its caps, without a decoder's padding.

    Args:
        info: The Gst.PadProbeInfo.
        form: Format of the frames on the probe's pad, with 8 bits.
    """
    last = form.planes[-1]
    plain = np.zeros(last.offset + last.stride * last.height, np.uint8)
    with mapped_frame(info, form) as frame:
        for target, plane in zip(_views(form, plain), frame.arrays, strict=True):
            target[...] = plane
    return plain.tobytes()


def planes_of(form: FrameFormat, data: bytes) -> list[NDArray[np.uint8]]:
    """Return the planes of a frame of 8 bits, as arrays that can be drawn on.

    Args:
        form: Its format.
        data: What `plain_bytes` returned.
    """
    return _views(form, np.frombuffer(bytearray(data), np.uint8))


def _views(form: FrameFormat, pixels: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    return [
        np.ndarray((p.height, p.width), np.uint8, pixels[p.offset :], strides=(p.stride, 1))
        for p in form.planes
    ]


def encode(
    form: FrameFormat, frames: list[bytes], options: Any, rounds: int, fps: int = 25
) -> list[float]:
    """Encode frames with x264enc, and return the times from one packet to the next in seconds.

    Args:
        form: Format of the frames.
        frames: Their pixels; they are repeated, forward and back, so that motion has no jumps.
        options: Properties of x264enc, as in the graph; those with placeholders are left out.
        rounds: Number of frames.
        fps: Frame rate that the encoder assumes.

    Raises:
        UserError: The encoder fails.
    """
    values = {k: v.replace("{kilobits}", "8000") for k, v in options.items()}
    words = " ".join(f"{key}={value}" for key, value in values.items() if "{" not in value)
    pipeline = Gst.parse_launch(
        f"appsrc name=source format=time block=true max-buffers=2 max-bytes=0 caps=video/x-raw,"
        f"format={form.name},width={form.width},height={form.height},framerate={fps}/1 "
        f"! x264enc {words} ! fakesink name=sink sync=false"
    )
    there_and_back = [*range(len(frames)), *range(len(frames) - 2, 0, -1)]
    buffers = [Gst.Buffer.new_wrapped(data) for data in frames]
    numbers = iter(range(rounds + 2 * SKIPPED))
    flags = Gst.BufferCopyFlags.MEMORY

    def push(source: Any, _length: int) -> None:
        number = next(numbers, None)
        if number is None:
            source.emit("end-of-stream")
            return
        buffer = buffers[there_and_back[number % len(there_and_back)]]
        again = buffer.copy_region(flags, 0, buffer.get_size())
        again.pts = number * Gst.SECOND // fps
        again.duration = Gst.SECOND // fps
        source.emit("push-buffer", again)

    pipeline.get_by_name("source").connect("need-data", push)
    left: list[float] = []

    def note(_pad: Any, _info: Any) -> Any:
        left.append(time.perf_counter())
        return Gst.PadProbeReturn.OK

    pipeline.get_by_name("sink").get_static_pad("sink").add_probe(Gst.PadProbeType.BUFFER, note)
    play_to_end(pipeline, "x264enc")
    return list(np.diff(left)[SKIPPED:])
