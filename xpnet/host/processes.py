"""What every program that we start has in common."""

from __future__ import annotations

import ctypes
import signal


def die_with_parent() -> None:
    """In the child: Linux ends it when its parent does, however that ends (prctl(2))."""
    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGTERM)
