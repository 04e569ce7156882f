"""The newest seconds of an encoded picture, in memory."""

from __future__ import annotations

from collections import deque
from itertools import chain
from typing import Any

from deepstream.gstreamer import Gst


class Ring:
    """Encoded frames in groups of pictures; each group begins with a key frame.

    A group is forgotten when the one after it covers the ring's time alone, so the ring is at most
    one group longer than asked, and a frame costs the same however long the ring is.

    Args:
        seconds: Time that the ring covers at least, once it is full.
    """

    def __init__(self, seconds: float) -> None:
        self._span = round(seconds * Gst.SECOND)
        self._groups: deque[list[Any]] = deque()
        self.caps: Any = None

    def add(self, buffer: Any, caps: Any) -> None:
        """Add a frame; frames before the first key frame cannot be decoded and are left out.

        Args:
            buffer: An encoded Gst.Buffer with a timestamp.
            caps: Its Gst.Caps.
        """
        if not buffer.has_flags(Gst.BufferFlags.DELTA_UNIT):
            self._groups.append([])
        if not self._groups:
            return
        self.caps = caps
        self._groups[-1].append(buffer)
        oldest = buffer.pts - self._span
        while len(self._groups) > 1 and self._groups[1][0].pts <= oldest:
            self._groups.popleft()

    def frames(self) -> list[Any]:
        """Return the frames, oldest first; the first is a key frame."""
        return list(chain.from_iterable(self._groups))
