"""Times of the parts of the graph, each of them alone on this machine."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from deepstream.bench.clips import play_to_end
from deepstream.graph.element_tables import X264_FILE, X264_LIVE
from deepstream.gstreamer import Gst
from deepstream.probes.video_frame import FrameFormat, VideoFrame, read_format
from xpnet.frames import Mask, ProbabilityMap, frame_to_tensor, probabilities_to_mask
from xpnet.inference import Inference
from xpnet.overlay import OverlayStyle, draw_on_planes

KEPT_FRAMES = 24
"""Decoded frames that the parts work on; of 3840 x 2160 they take 300 MB."""
SKIPPED = 5
"""First times of a part, which are slower: caches are cold, and an encoder looks ahead."""
LARGE_AREA = 0.5
"""Share of the frame that the large mask covers."""


def time_parts(
    clip: Path, inference: Inference, threshold: float, rounds: int
) -> list[dict[str, Any]]:
    """Time every part on the frames of a clip.

    Decoder, encoder and inference may use all cores, as in the graph; the others are this process's
    own code. Drawing is timed on one core.

    Args:
        clip: Its frames are decoded; KEPT_FRAMES of them, from all its parts, are worked on.
        inference: Computes the masks.
        threshold: Probability above which a pixel is polyp.
        rounds: Number of frames that each part is timed on.

    Returns:
        Rows with `part`, `frames`, `median_ms` and `p95_ms`.

    Raises:
        UserError: The clip cannot be decoded, or an encoder fails.
    """
    decode_s, form, frames = decode(clip)
    size = (form.height, form.width)
    card = inference.card
    small = (card.input.height, card.input.width)
    pictures = [VideoFrame(form, planes_of(form, data)) for data in frames]
    tensors = [frame_to_tensor(picture.scaled_rgb(*small), *small) for picture in pictures]
    maps = [inference.submit(tensor).result() for tensor in tensors]
    masks = [probabilities_to_mask(found, *size, threshold) for found in maps]
    drawn = [mask for mask in masks if mask.any()] or masks
    rows = [_row("decode", decode_s)]

    def timed(part: str, work: Callable[[int], Any]) -> None:
        rows.append(_row(part, _times(work, rounds)))

    timed("preprocess", lambda n: _preprocess(pictures[n % len(pictures)], small))
    timed("inference", lambda n: inference.submit(tensors[n % len(tensors)]).result())
    timed("mask", lambda n: _mask(maps[n % len(maps)], size, threshold))
    with one_core():
        timed("overlay", _drawing(pictures, drawn))
        timed("overlay, large mask", _drawing(pictures, [large_mask(*size)]))
        timed("overlay, no polyp", _drawing(pictures, [np.zeros(size, np.uint8)]))
    for part, options in (("encode", X264_FILE), ("encode, live", X264_LIVE)):
        rows.append(_row(part, encode(form, frames, options, rounds)))
    return rows


def _preprocess(picture: VideoFrame, size: tuple[int, int]) -> Any:
    return frame_to_tensor(picture.scaled_rgb(*size), *size)


def _mask(found: ProbabilityMap, size: tuple[int, int], threshold: float) -> Mask:
    return probabilities_to_mask(found, *size, threshold)


def _drawing(pictures: list[VideoFrame], masks: list[Mask]) -> Callable[[int], None]:
    """Return what draws one frame's mask; drawing again on the same frame takes the same time."""
    style = OverlayStyle()

    def draw(number: int) -> None:
        planes = pictures[number % len(pictures)].planes(style.colour)
        draw_on_planes(planes, masks[number % len(masks)], style)

    return draw


def large_mask(height: int, width: int) -> Mask:
    """Return an ellipse in the middle of a frame that covers LARGE_AREA of it.

    Args:
        height: Height in pixels.
        width: Width in pixels.
    """
    mask: Mask = np.zeros((height, width), np.uint8)
    share = (LARGE_AREA / np.pi) ** 0.5
    axes = (round(width * share), round(height * share))
    cv2.ellipse(mask, (width // 2, height // 2), axes, 0, 0, 360, (1,), -1)
    return mask


@contextmanager
def one_core() -> Iterator[None]:
    """Keep this thread on one core, and OpenCV in this thread, during the `with` block."""
    cores, threads = os.sched_getaffinity(0), cv2.getNumThreads()
    os.sched_setaffinity(0, {max(cores)})
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(threads)
        os.sched_setaffinity(0, cores)


def _times(work: Callable[[int], Any], rounds: int) -> list[float]:
    times = []
    for number in range(rounds + SKIPPED):
        started = time.perf_counter()
        work(number)
        times.append(time.perf_counter() - started)
    return times[SKIPPED:]


def _row(part: str, times: list[float]) -> dict[str, Any]:
    median, high = np.percentile(np.asarray(times) * 1000, (50, 95)) if times else (np.nan,) * 2
    return {
        "part": part,
        "frames": len(times),
        "median_ms": round(float(median), 3),
        "p95_ms": round(float(high), 3),
    }


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
            kept.append(plain_bytes(info.get_buffer(), pad.get_current_caps()))
            forms.append(read_format(pad.get_current_caps()))
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


def plain_bytes(buffer: Any, caps: Any) -> bytes:
    """Return a frame's planes without padding, in the layout of its caps.

    Args:
        buffer: A Gst.Buffer.
        caps: Its format.
    """
    from deepstream.gstreamer import GstVideo

    meta = GstVideo.buffer_get_video_meta(buffer)
    form = read_format(caps)
    mapped, info = buffer.map(Gst.MapFlags.READ)
    if not mapped:
        raise RuntimeError("the frame's buffer cannot be mapped")
    try:
        data = np.frombuffer(info.data, np.uint8)
        offsets = [p.offset if meta is None else meta.offset[n] for n, p in enumerate(form.planes)]
        strides = [p.stride if meta is None else meta.stride[n] for n, p in enumerate(form.planes)]
        plain = np.zeros(form.planes[-1].offset + form.planes[-1].stride * form.planes[-1].height,
                         np.uint8)  # fmt: skip
        for plane, offset, stride in zip(form.planes, offsets, strides, strict=True):
            rows = np.ndarray(
                (plane.height, plane.width), np.uint8, data[offset:], strides=(stride, 1)
            )
            target = np.ndarray((plane.height, plane.width), np.uint8, plain[plane.offset :],
                                strides=(plane.stride, 1))  # fmt: skip
            target[...] = rows
        return plain.tobytes()
    finally:
        buffer.unmap(info)


def planes_of(form: FrameFormat, data: bytes) -> list[NDArray[np.uint8]]:
    """Return the planes of a frame of 8 bits, as arrays that can be drawn on.

    Args:
        form: Its format.
        data: What `plain_bytes` returned.
    """
    pixels = np.frombuffer(bytearray(data), np.uint8)
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
