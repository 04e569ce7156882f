"""Interrupts during a run are counted; afterwards they raise KeyboardInterrupt again.

`raise_signal` and not `os.kill`: another thread of the tests could get the signal, and this one
would see it only after its assertion.
"""

from __future__ import annotations

import signal
import threading
import time
from typing import Any

import pytest

from xpnet.host.interrupts import counting_interrupts, interrupt, interrupted_when


def test_interrupts_are_counted_and_then_raise_again() -> None:
    with counting_interrupts() as count:
        assert count() == 0
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        assert count() == 2
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


def test_an_interrupt_in_a_destructor_is_not_lost() -> None:
    class Interrupted:
        def __del__(self) -> None:
            signal.raise_signal(signal.SIGINT)

    with counting_interrupts() as count:
        Interrupted()
        assert count() == 1


def test_handlers_of_others_stay() -> None:
    seen: list[int] = []

    def own(number: int, _frame: Any) -> None:
        seen.append(number)

    before = signal.signal(signal.SIGTERM, own)
    try:
        with counting_interrupts() as count:
            signal.raise_signal(signal.SIGTERM)
            assert (count(), seen) == (0, [signal.SIGTERM])
        signal.signal(signal.SIGTERM, interrupt)
        with counting_interrupts() as count:
            signal.raise_signal(signal.SIGTERM)
            assert count() == 1
    finally:
        signal.signal(signal.SIGTERM, before)


def test_the_process_is_interrupted_once_something_is_reached() -> None:
    reached = threading.Event()
    with interrupted_when(reached.is_set), counting_interrupts() as count:
        time.sleep(0.2)
        assert count() == 0
        reached.set()
        deadline = time.monotonic() + 10
        while not count() and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.2)
        assert count() == 1


def test_the_process_is_not_interrupted_after_the_block() -> None:
    with counting_interrupts() as count:
        with interrupted_when(lambda: False, limit_s=0.2):
            pass
        time.sleep(0.4)
        assert count() == 0
