"""Processes: their memory, and children that end when this one ends (prctl(2))."""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import signal
import threading
import time
from collections.abc import Sequence
from pathlib import Path

NICENESS = 5
"""While others want the same core: a quarter of its time (sched(7))."""
AUTOGROUP_TRIES = 5


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


def lower_priority(process: int) -> None:
    """Give a process and what it starts later a smaller share of the cores than others.

    Call it right after the start, before the process has threads. A process that leads a session
    may have an autogroup (sched(7)); then the niceness of the group counts, not its own.

    Args:
        process: Its number.
    """
    with contextlib.suppress(OSError):  # it ended at once, which its parent reports
        _lower(process)
    group = Path(f"/proc/{process}/autogroup")
    for _ in range(AUTOGROUP_TRIES):
        try:
            group.write_text(str(NICENESS), encoding="ascii")
        except BlockingIOError:  # the kernel accepts ten changes a second from all processes
            time.sleep(0.1)
        except OSError:  # no autogroups
            return
        else:
            return


def lower_thread_priority() -> None:
    """Give this thread and those that it starts later a smaller share of the cores."""
    _lower(threading.get_native_id())


def _lower(number: int) -> None:
    """Raise the niceness of a thread to NICENESS; one that is higher stays."""
    own = os.getpriority(os.PRIO_PROCESS, number)
    os.setpriority(os.PRIO_PROCESS, number, max(own, NICENESS))


def resident_bytes(process: int | str = "self") -> int:
    """Return the memory that a process occupies.

    Args:
        process: Its number; `self` for this one.
    """
    pages = int(Path(f"/proc/{process}/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def children(process: int) -> list[int]:
    """Return the processes that a process has started and that have not ended.

    Args:
        process: Its number.
    """
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it ended meanwhile
            fields = (
                status.read_text(encoding="utf-8", errors="replace").rpartition(") ")[2].split()
            )
            if int(fields[1]) == process and fields[0] != "Z":
                found.append(int(status.parent.name))
    return sorted(found)


def descendants(process: int) -> list[int]:
    """Return the children of a process that have not ended, and theirs.

    Args:
        process: Its number.
    """
    found = children(process)
    return found + [number for child in found for number in descendants(child)]


def is_running(process: int) -> bool:
    """Return whether a process exists and has not ended.

    Args:
        process: Its number.
    """
    try:
        status = Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return status.rpartition(") ")[2][0] != "Z"


def limit_heaps(count: int = 2) -> None:
    """Let the threads of this process share a few heaps (mallopt(3)).

    By default glibc makes up to eight heaps a core. Frames and masks that many threads allocate and
    release then fragment all of them, so that the memory of a live run can grow.

    Args:
        count: Number of heaps.
    """
    m_arena_max = -8
    with contextlib.suppress(AttributeError):  # another C library has no mallopt
        ctypes.CDLL(None).mallopt(m_arena_max, count)


def set_parent_death_signal() -> None:
    """In the child process: the same, as `preexec_fn` of a process without other threads."""
    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGTERM)
