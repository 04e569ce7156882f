"""Ctrl-C while a graph plays: counted, and acted on between two messages of the graph.

An exception at any moment, as Python raises it by default, can be lost in a callback or destructor,
where Python prints and ignores it, or can leave the graph without an end of stream.
"""

from __future__ import annotations

import math
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

POLL_S = 0.05
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def interrupt(_signal: int, _frame: Any) -> None:
    """Handle a signal as Ctrl-C; for signals whose default is to end the process at once."""
    raise KeyboardInterrupt


@contextmanager
def counting_interrupts() -> Iterator[Callable[[], int]]:
    """Count interrupts during the `with` block instead of raising KeyboardInterrupt.

    Only where the handler is Python's own for Ctrl-C, or `interrupt`: others are the caller's.

    Yields:
        A function that returns how many there were.
    """
    count = 0

    def handle(_signal: int, _frame: Any) -> None:
        nonlocal count
        count += 1

    replaced = {}
    if threading.current_thread() is threading.main_thread():
        for number in SIGNALS:
            before = signal.getsignal(number)
            if before in (signal.default_int_handler, interrupt):
                replaced[number] = before
                signal.signal(number, handle)
    try:
        yield lambda: count
    finally:
        for number, before in replaced.items():
            signal.signal(number, before)


@contextmanager
def interrupted_when(reached: Callable[[], bool], limit_s: float = math.inf) -> Iterator[None]:
    """Interrupt this process, as Ctrl-C does, once something is reached; never after the block.

    `reached` has to wait until `counting_interrupts` counts: before, Python ends the process.

    Args:
        reached: Called in a thread of its own, some times a second.
        limit_s: After this time in seconds the process is interrupted in any case.
    """
    ended = threading.Event()

    def watch() -> None:
        deadline = time.monotonic() + limit_s
        while not ended.wait(POLL_S):
            if reached() or time.monotonic() > deadline:
                os.kill(os.getpid(), signal.SIGINT)
                return

    # A job in the background of a shell ignores the signal.
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()
        signal.signal(signal.SIGINT, previous)
