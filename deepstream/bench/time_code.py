"""A time code in the picture: a row of black and white blocks at its lower edge.

The blocks survive scaling, an overlay and lossy encoding. A contour that crosses them makes the
code unreadable, which its checksum shows.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

TIME_BITS, CHECK_BITS = 32, 8
BITS = TIME_BITS + CHECK_BITS
TICK_S = 1e-5
"""Unit of the code. It starts again after 12 hours, far more than any delay."""
MIN_WIDTH = 4 * BITS
"""Smallest width of a frame in pixels: four for each block."""


def now_ticks() -> int:
    """Return the monotonic clock in ticks, as the code carries it."""
    return int(time.monotonic() / TICK_S) % 2**TIME_BITS


def seconds_since(ticks: int) -> float:
    """Return the seconds from a time code until now.

    Args:
        ticks: What `read_code` returned.
    """
    return float((now_ticks() - ticks) % 2**TIME_BITS * TICK_S)


def write_code(luma: NDArray[Any], ticks: int) -> None:
    """Draw a time code, in place.

    Args:
        luma: Height x width of uint8, or of uint16 with samples of 10 bits.
        ticks: A time of `now_ticks`.

    Raises:
        ValueError: The frame is narrower than MIN_WIDTH.
    """
    side = _side(luma)
    word = ticks | _checksum(ticks) << TIME_BITS
    unit = 1 if luma.dtype == np.uint8 else 4
    values = np.array([(220 if word >> n & 1 else 32) * unit for n in range(BITS)], luma.dtype)
    luma[-side:, : side * BITS] = np.repeat(values, side)


def read_code(luma: NDArray[Any]) -> int | None:
    """Return the time in ticks that a frame carries, or None if it cannot be read.

    Args:
        luma: As in `write_code`.

    Raises:
        ValueError: The frame is narrower than MIN_WIDTH.
    """
    side = _side(luma)
    unit = 1 if luma.dtype == np.uint8 else 4
    margin = side // 4
    row = luma[-side + margin : luma.shape[0] - margin, : side * BITS].mean(axis=0)
    blocks = row.reshape(BITS, side)[:, margin : side - margin].mean(axis=1)
    word = sum(1 << n for n, value in enumerate(blocks) if value > 126 * unit)
    ticks = word % 2**TIME_BITS
    return ticks if word >> TIME_BITS == _checksum(ticks) else None


def _side(luma: NDArray[Any]) -> int:
    if luma.shape[1] < MIN_WIDTH:
        raise ValueError(f"a frame of width {luma.shape[1]}: a time code needs {MIN_WIDTH}")
    return int(min(luma.shape[1] // BITS, 32))


def _checksum(ticks: int) -> int:
    """Return eight bits that change with any one bit; black and white frames do not fit."""
    return (sum(ticks.to_bytes(4, "little")[n] * (2 * n + 3) for n in range(4)) + 0x5A) % 256
