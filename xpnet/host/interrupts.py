"""Ctrl-C while a graph plays: counted, and acted on between two messages of the graph.

An exception at any moment, as Python raises it by default, can be lost in a callback or destructor,
where Python prints and ignores it, or can leave the graph without an end of stream.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

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
