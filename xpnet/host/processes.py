"""What all child processes of this project have in common."""

from __future__ import annotations

import ctypes
import signal


def end_with_parent() -> None:
    """In the child process: end it when its parent ends, for whatever reason (prctl(2))."""
    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGTERM)
