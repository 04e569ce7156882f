"""`xpnet bench steadiness`: flicker, lag and accuracy of steadied masks, beside raw ones."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby, islice, pairwise
from pathlib import Path
from statistics import mean, median
from typing import Any

import cv2
import numpy as np

from xpnet.bench.mark_counter import MarkCounter
from xpnet.card import Card
from xpnet.frames import (
    Frame,
    Mask,
    ProbabilityMap,
    frame_to_tensor,
    probabilities_to_mask,
    without_weak_areas,
)
from xpnet.host.cpu import measured_here
from xpnet.images import clip_frames, frame_rate
from xpnet.inference import Inference
from xpnet.polyps import find_polyps
from xpnet.steadiness import Steadier, Steadiness

FLASH_S = 0.2
"""A state, marked or not, that lasts less is a flicker."""
SETTLED_S = 0.2
"""By this time after a cut an area is confirmed, and the average has forgotten the frame before."""
FPS = 25.0
"""Rate of frames that are stored one by one."""
KINDS = {
    "raw": Steadiness(False, False),
    "smoothed": Steadiness(True, False),
    "confirmed": Steadiness(False, True),
    "both": Steadiness(True, True),
}
SIDE = 256
"""Height and width of the masks that are compared."""


@dataclass(frozen=True)
class Sequence:
    """Probability maps of consecutive frames.

    Attributes:
        name: For the report.
        maps: One for each frame.
        fps: Frames a second.
        truths: The true masks at SIDE x SIDE, or an empty list if they are not known.
        starts: Frames, but the first, at which another sequence starts.
    """

    name: str
    maps: list[ProbabilityMap]
    fps: float
    truths: list[Mask]
    starts: frozenset[int] = frozenset()


def read_clip(
    path: Path, until_s: float | None, infer: Callable[[Frame], ProbabilityMap]
) -> Sequence:
    """Return the maps of a clip.

    Args:
        path: A video.
        until_s: How many seconds of it; None for all.
        infer: Returns the map of a frame in RGB.

    Raises:
        UserError: It cannot be read.
    """
    fps = frame_rate(path)
    count = None if until_s is None else round(until_s * fps)
    maps = [infer(frame) for frame in islice(clip_frames(path), count)]
    name = path.name if until_s is None else f"{path.name}, first {until_s:g} s"
    return Sequence(name, maps, fps, [])


def read_groups(
    name: str, samples: Iterable[Any], infer: Callable[[Frame], ProbabilityMap]
) -> Sequence:
    """Return the maps and true masks of sequences, one after the other.

    Args:
        name: For the report.
        samples: Frames with masks (training.data.readers.Sample), in order.
        infer: Returns the map of a frame in RGB.
    """
    maps, truths, starts, before = [], [], set(), ""
    for number, sample in enumerate(samples):
        maps.append(infer(sample.pair.read_frame()))
        truth = cv2.resize(sample.pair.read_mask(), (SIDE, SIDE), interpolation=cv2.INTER_AREA)
        truths.append(np.asarray(truth, dtype=np.uint8))
        if number and sample.group != before:
            starts.add(number)
        before = sample.group
    return Sequence(name, maps, FPS, truths, frozenset(starts))


def in_process(inference: Inference) -> Callable[[Frame], ProbabilityMap]:
    """Return a function that computes the map of a frame in RGB.

    Args:
        inference: Where it is computed.
    """
    spec = inference.card.input

    def infer(frame: Frame) -> ProbabilityMap:
        tensor = frame_to_tensor(frame, spec.height, spec.width)
        return inference.submit(tensor).result()

    return infer


def steadied(
    sequence: Sequence, wanted: Steadiness, threshold: float, peak: float = 0.0
) -> list[Mask]:
    """Return the masks of a sequence at SIDE x SIDE.

    Args:
        sequence: The maps.
        wanted: How they are steadied.
        threshold: Probability above which a pixel is polyp.
        peak: Probability that an area must exceed somewhere in its frame; 0 for no such rule.
    """
    steadier, masks = Steadier(), []
    for number, found in enumerate(sequence.maps):
        if number in sequence.starts:
            steadier = Steadier()
        found = without_weak_areas(found, threshold, peak)
        shown = steadier.update(found, number / sequence.fps, threshold, wanted)
        masks.append(probabilities_to_mask(shown, SIDE, SIDE, threshold))
    return masks


def measure(sequence: Sequence, threshold: float, peak: float = 0.0) -> dict[str, dict[str, Any]]:
    """Return the figures of a sequence for each of KINDS.

    Args:
        sequence: Its maps.
        threshold: Probability above which a pixel is polyp.
        peak: Probability that an area must exceed somewhere in its frame; 0 for no such rule.
    """
    raw = steadied(sequence, KINDS["raw"], threshold, peak)
    return {
        kind: _figures(sequence, raw, steadied(sequence, wanted, threshold, peak))
        for kind, wanted in KINDS.items()
    }


def _figures(sequence: Sequence, raw: list[Mask], masks: list[Mask]) -> dict[str, Any]:
    fps, seconds = sequence.fps, len(masks) / sequence.fps
    marked = [bool(mask.any()) for mask in masks]
    marked_raw = [bool(mask.any()) for mask in raw]
    areas = [float(mask.mean()) for mask in masks]
    # At a cut everything changes, which is neither a flicker nor a lag.
    parts = _parts(sequence)
    appearances = [lag for part in parts for lag in _lags(marked_raw[part], marked[part], fps)]
    changes = [abs(b - a) for part in parts for a, b in pairwise(areas[part]) if a and b]
    result = {
        "frames": len(masks),
        "frames_marked": sum(marked),
        "marks_a_minute": round(60 * sum(_marks(masks[p], fps) for p in parts) / seconds, 1),
        "flickers_a_second": round(sum(_flickers(marked[p], fps) for p in parts) / seconds, 3),
        "area_change_percent": round(100 * sum(changes) / sum(areas), 2) if any(areas) else 0.0,
        "lag_frames": round(median(appearances), 1) if appearances else None,
        "longest_lag_frames": max(appearances) if appearances else None,
    }
    if sequence.truths:
        dice = [_dice(*pair) for pair in zip(masks, sequence.truths, strict=True)]
        late = [d for part in parts for d in dice[part][round(SETTLED_S * fps) :]]
        result["dice"] = round(mean(dice), 4)
        result["settled_dice"] = round(mean(late), 4) if late else None
        polyps = [n for n, truth in enumerate(sequence.truths) if truth.any()]
        hit = sum(bool((masks[n] & sequence.truths[n]).any()) for n in polyps)
        result["polyp_frames_hit"], result["polyp_frames"] = hit, len(polyps)
    return result


def _parts(sequence: Sequence) -> list[slice]:
    """Return the frames of each sequence between two cuts."""
    ends = [0, *sorted(sequence.starts), len(sequence.maps)]
    return [slice(start, end) for start, end in pairwise(ends)]


def _flickers(marked: Iterable[bool], fps: float) -> int:
    """Return how many states between two others lasted less than FLASH_S."""
    lengths = [len(list(run)) for _, run in groupby(marked)]
    return sum(length < FLASH_S * fps for length in lengths[1:-1])


def _marks(masks: list[Mask], fps: float) -> int:
    """Return how many marks appear, each area counting, however small."""
    counter = MarkCounter()
    for number, mask in enumerate(masks):
        counter.add([polyp.box for polyp in find_polyps(mask, smallest=0.0)], number / fps)
    return counter.marks


def _lags(raw: list[bool], shown: list[bool], fps: float) -> Iterator[int]:
    """Yield by how many frames each appearance of at least FLASH_S is marked later than raw."""
    start = 0
    for state, run in groupby(raw):
        length = len(list(run))
        if state and length >= FLASH_S * fps and start:
            later = [n for n in range(start, start + length) if shown[n]]
            yield (later[0] - start) if later else length
        start += length


def _dice(mask: Mask, truth: Mask) -> float:
    both = int(mask.sum()) + int(truth.sum())
    return 2 * int((mask & truth).sum()) / both if both else 1.0


def report(sequences: list[Sequence], card: Card) -> dict[str, Any]:
    """Return the figures of all sequences, and where they come from.

    Args:
        sequences: The maps.
        card: Card of the network that made them.
    """
    rows = {s.name: measure(s, card.threshold, card.peak) for s in sequences}
    return {
        "model": card.name,
        "rows": rows,
        **measured_here(),
    }


def as_markdown(found: dict[str, Any]) -> str:
    """Return the report as a table.

    Args:
        found: The result of `report`.
    """
    known = any("dice" in row for kinds in found["rows"].values() for row in kinds.values())
    head = ["frames", "masks", "frames marked", "marks a minute", "flickers a second",
            "change of area, %", "lag, frames (longest)"]  # fmt: skip
    head += ["Dice", f"from {SETTLED_S:g} s on", "polyp frames hit"] if known else []
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    for name, kinds in found["rows"].items():
        for kind, row in kinds.items():
            lag = row["lag_frames"]
            cells = [
                name, kind, f"{row['frames_marked']} of {row['frames']}", row["marks_a_minute"],
                row["flickers_a_second"], row["area_change_percent"],
                "" if lag is None else f"{lag:g} ({row['longest_lag_frames']})",
            ]  # fmt: skip
            if known:
                hit = f"{row['polyp_frames_hit']} of {row['polyp_frames']}" if "dice" in row else ""
                late = row.get("settled_dice")
                cells += [row.get("dice", ""), "" if late is None else late, hit]
            lines.append(f"| {' | '.join(str(cell) for cell in cells)} |")
    lines += ["", f"`{found['model']}`, {found['machine']}, {found['date']}."]
    return "\n".join(lines) + "\n"
