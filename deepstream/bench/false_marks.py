"""Counts marks on clips without polyps, as a viewer sees them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deepstream.bench.measured_probes import AS_RUN
from deepstream.bench.pixels import play_seen
from deepstream.io.source import open_clip
from xpnet.bench.mark_counter import MarkCounter
from xpnet.errors import UserError
from xpnet.frames import Segmentation
from xpnet.inference import Inference
from xpnet.paths import DEMO_CLIP
from xpnet.polyps import find_polyps

BUILT_IN = f"{DEMO_CLIP}@0-5"
"""The first five seconds of the demo clip, in which no polyp is apparent."""


@dataclass(frozen=True)
class ClipPart:
    """A part of a clip.

    Attributes:
        path: The clip.
        start_s: Its start in seconds.
        end_s: Its end; None for that of the clip.
    """

    path: Path
    start_s: float = 0.0
    end_s: float | None = None


def parse_part(text: str) -> ClipPart:
    """Convert `FILE` or `FILE@START-END`, in seconds.

    Args:
        text: A value of `--without-polyps`.

    Raises:
        UserError: The times are not two numbers, or the end is not behind the start.
    """
    name, at, times = text.rpartition("@")
    if not at or Path(text).exists():
        return ClipPart(Path(text))
    first, _, last = times.partition("-")
    try:
        part = ClipPart(Path(name), float(first), float(last))
    except ValueError:
        raise UserError(f"{text}: expected FILE or FILE@START-END in seconds") from None
    if not 0 <= part.start_s < float(last):
        raise UserError(f"{text}: expected an end behind the start")
    return part


def count_false_marks(part: ClipPart, inference: Inference) -> dict[str, Any]:
    """Count the marks on a part of a clip that contains no polyp.

    Every drawn area counts, however small.

    Args:
        part: The part of a clip.
        inference: Computes the masks.

    Returns:
        `seconds`, `frames`, `frames_with_mark`, `marks`, `lasting`, and both a minute.

    Raises:
        UserError: The clip cannot be played, or the part contains no frame.
    """
    counter = MarkCounter()
    first: list[int] = []

    def add(segmentation: Segmentation) -> None:
        stamp = segmentation.timestamp_ns or 0
        first.append(stamp) if not first else None
        time_s = (stamp - first[0]) / 1e9
        if time_s >= part.start_s and (part.end_s is None or time_s < part.end_s):
            boxes = [polyp.box for polyp in find_polyps(segmentation.mask, smallest=0.0)]
            counter.add(boxes, time_s)

    play_seen(part.path, inference, AS_RUN, add)
    if counter.frames == 0:
        raise UserError(f"{part.path}: no frame from {part.start_s:g} s on")
    fps = open_clip(part.path, 25).fps or 25.0
    seconds = counter.frames / fps
    end = "" if part.end_s is None else f"{part.end_s:g}"
    return {
        "clip": part.path.name,
        "part": f"{part.start_s:g} to {end or 'its end'} s",
        "seconds": round(seconds, 2),
        "frames": counter.frames,
        "frames_with_mark": counter.frames_with_mark,
        "marks": counter.marks,
        "lasting": counter.lasting,
        "marks_per_minute": round(counter.marks / seconds * 60, 1),
        "lasting_per_minute": round(counter.lasting / seconds * 60, 1),
    }
