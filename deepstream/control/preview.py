"""The newest frame as it is shown, for the page: made on request, and never stored."""

from __future__ import annotations

import threading
import time
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from deepstream.probes.pixels import mapped_frame
from deepstream.probes.video_frame import FormatReader

LINES = 480
"""Height of a preview in pixels; the width follows the shape of the frame."""
INTERVAL_S = 0.15
WAIT_S = 1.0
"""How long a request waits for a frame."""
JPEG_QUALITY = 80


class Preview:
    """Copies frames while someone asks for them; the branch of the graph calls `take`."""

    def __init__(self) -> None:
        self._reader = FormatReader()
        self._condition = threading.Condition()
        self._wanted: set[int] = set()  # heights: LINES, or 0 for the frame's own
        self._taken: dict[int, tuple[float, NDArray[np.uint8]]] = {}

    def take(self, pad: Any, info: Any) -> None:
        """Copy a frame if a request waits for it. Called in the thread of the branch.

        Args:
            pad: The pad of the probe.
            info: Its Gst.PadProbeInfo.
        """
        with self._condition:
            wanted = set(self._wanted)
        if not wanted:
            return
        form = self._reader.read(pad)
        for lines in wanted:
            height = min(lines, form.height) or form.height
            width = round(form.width * height / form.height)
            with mapped_frame(info, form) as frame:
                rgb = frame.scaled_rgb(height, width)
            with self._condition:
                self._taken[lines] = time.monotonic(), rgb
                self._wanted.discard(lines)
                self._condition.notify_all()

    def jpeg(self) -> bytes | None:
        """Return a small picture as JPEG, or None if no frame arrives."""
        rgb = self._frame(LINES, INTERVAL_S)
        quality = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
        return None if rgb is None else _encoded(".jpg", rgb, quality)

    def png(self) -> bytes | None:
        """Return the next frame at its own size as PNG, or None if no frame arrives."""
        rgb = self._frame(0, 0.0)
        return None if rgb is None else _encoded(".png", rgb, [])

    def _frame(self, lines: int, max_age_s: float) -> NDArray[np.uint8] | None:
        asked = time.monotonic()
        with self._condition:
            if self._age_ok(lines, asked - max_age_s):
                return self._taken[lines][1]
            self._wanted.add(lines)
            self._condition.wait_for(lambda: self._age_ok(lines, asked), WAIT_S)
            return self._taken[lines][1] if self._age_ok(lines, asked) else None

    def _age_ok(self, lines: int, since: float) -> bool:
        return lines in self._taken and self._taken[lines][0] >= since


def _encoded(kind: str, rgb: NDArray[np.uint8], options: list[int]) -> bytes:
    _, data = cv2.imencode(kind, cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), options)
    return bytes(data)
