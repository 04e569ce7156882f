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

from deepstream.bench.codecs import SKIPPED, decode, encode, planes_of
from deepstream.graph.element_tables import X264_FILE, X264_LIVE
from deepstream.probes.video_frame import VideoFrame
from xpnet.card import Card
from xpnet.frames import Mask, ProbabilityMap, frame_to_tensor, probabilities_to_mask
from xpnet.inference import Inference
from xpnet.overlay import OverlayStyle, draw_on_planes, outline_of
from xpnet.steadiness import Steadier, Steadiness

STYLE = OverlayStyle()
"""Fill and contour, as `xpnet run` draws by default."""
LARGE_AREA = 0.5
"""Share of the frame that the large mask covers."""


def time_parts(clip: Path, inference: Inference, rounds: int) -> list[dict[str, Any]]:
    """Time every part on the frames of a clip.

    Decoder, encoder and inference may use all cores, as in the graph; the others are this process's
    own code. Drawing is timed on one core.

    Args:
        clip: Its frames are decoded; some of them, from all its parts, are worked on.
        inference: Computes the masks.
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
    masks = [_mask(found, size, card) for found in maps]
    large = large_mask(*size)
    drawn = [mask for mask in masks if mask.any()] or [large]
    rows = [_row("decode", decode_s)]

    def timed(part: str, work: Callable[[int], Any]) -> None:
        rows.append(_row(part, _times(work, rounds)))

    timed("preprocess", lambda n: _preprocess(pictures[n % len(pictures)], small))
    timed("inference", lambda n: inference.submit(tensors[n % len(tensors)]).result())
    timed("mask", lambda n: _mask(maps[n % len(maps)], size, card))
    timed("steady", _steadying(maps, card.threshold))
    with one_core():
        timed("outline", lambda n: outline_of(drawn[n % len(drawn)], STYLE.shape))
        timed("outline, large mask", lambda _: outline_of(large, STYLE.shape))
        timed("overlay", _drawing(pictures, drawn))
        timed("overlay, large mask", _drawing(pictures, [large]))
    for part, options in (("encode", X264_FILE), ("encode, live", X264_LIVE)):
        rows.append(_row(part, encode(form, frames, options, rounds)))
    return rows


def _preprocess(picture: VideoFrame, size: tuple[int, int]) -> Any:
    return frame_to_tensor(picture.scaled_rgb(*size), *size)


def _mask(found: ProbabilityMap, size: tuple[int, int], card: Card) -> Mask:
    return probabilities_to_mask(found, *size, card.threshold, card.peak)


def _steadying(maps: list[ProbabilityMap], threshold: float) -> Callable[[int], Any]:
    """Return what steadies one map of a stream of 25 frames a second."""
    steadier, wanted = Steadier(), Steadiness()

    def steady(number: int) -> ProbabilityMap:
        return steadier.update(maps[number % len(maps)], number / 25, threshold, wanted)

    return steady


def _drawing(pictures: list[VideoFrame], masks: list[Mask]) -> Callable[[int], None]:
    """Return what draws one frame's mask; drawing again on the same frame takes the same time."""
    outlines = [outline_of(mask, STYLE.shape) for mask in masks]

    def draw(number: int) -> None:
        planes = pictures[number % len(pictures)].planes(STYLE.colour)
        place = number % len(masks)
        draw_on_planes(planes, masks[place], STYLE, outlines[place])

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
