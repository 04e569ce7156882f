"""Frame rates as the exact fractions that caps and config files need."""

from __future__ import annotations

from fractions import Fraction


def exact_frame_rate(fps: float) -> Fraction:
    """Return the exact frame rate: 59.94 is 60000/1001, 29.97 is 30000/1001 and 12.5 is 25/2."""
    exact, ntsc = Fraction(fps).limit_denominator(1001), round(fps * 1.001)
    if exact.denominator > 1 and abs(fps * 1.001 - ntsc) < 0.01:
        return Fraction(ntsc * 1000, 1001)
    return exact
