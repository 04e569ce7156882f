"""Counts marks as a viewer sees them: those that appear, not the frames that show them."""

from __future__ import annotations

from dataclasses import dataclass

from xpnet.polyps import CONFIRM_FRAMES, MATCH_IOU, MAX_LOST_S, overlap


@dataclass
class _Mark:
    box: tuple[int, int, int, int]
    last_s: float
    frames: int = 1
    counted: bool = False


class MarkCounter:
    """Counts marks that appear; a mark that moves, or is away for half a second, is the same one.

    Attributes:
        marks: Marks that appeared.
        lasting: Marks that were shown in CONFIRM_FRAMES frames or more.
        frames: Frames.
        frames_with_mark: Frames with a mark, of any size.
    """

    def __init__(self) -> None:
        self.marks = self.lasting = self.frames = self.frames_with_mark = 0
        self._shown: list[_Mark] = []

    def add(self, boxes: list[tuple[int, int, int, int]], time_s: float) -> None:
        """Add a frame.

        Args:
            boxes: Box of each mark on it: left, top, width, height.
            time_s: Its time in seconds.
        """
        self.frames += 1
        self.frames_with_mark += bool(boxes)
        self._shown = [mark for mark in self._shown if time_s - mark.last_s <= MAX_LOST_S]
        free = list(self._shown)
        for box in boxes:
            best = max(free, key=lambda mark: overlap(box, mark.box), default=None)
            if best is None or overlap(box, best.box) < MATCH_IOU:
                self.marks += 1
                self._shown.append(_Mark(box, time_s))
                continue
            free.remove(best)
            best.box, best.last_s, best.frames = box, time_s, best.frames + 1
            if best.frames >= CONFIRM_FRAMES and not best.counted:
                best.counted = True
                self.lasting += 1
