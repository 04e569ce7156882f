"""Child processes that end when this process ends, for whatever reason (prctl(2))."""

from __future__ import annotations

import ctypes
import shutil
import signal
from collections.abc import Sequence


def end_with_parent(command: Sequence[str]) -> list[str]:
    """Return a command whose process ends when its parent ends; it is safe beside other threads.

    setpriv of util-linux sets this and becomes the command. A function of our own in the child
    (`preexec_fn`) needs fork(), which was seen to end this process with SIGSEGV while threads of
    gRPC were running. Without one, Python uses vfork().

    Args:
        command: Program and arguments.
    """
    setpriv = shutil.which("setpriv")
    if setpriv is None or shutil.which(command[0]) is None:  # the caller's error names the program
        return list(command)
    return [setpriv, "--pdeathsig", "TERM", "--", *command]


def set_parent_death_signal() -> None:
    """In the child process: the same, as `preexec_fn` of a process without other threads."""
    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGTERM)
