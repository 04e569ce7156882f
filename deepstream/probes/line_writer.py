"""Writes text in a thread of its own: a disk that hangs does not hold up the picture."""

from __future__ import annotations

import contextlib
import queue
import threading
from types import TracebackType
from typing import TextIO

MAX_WAITING = 5000
"""Lines that may wait for the disk: more than three minutes at 25 frames a second."""
CLOSE_S = 10.0


class LineWriter:
    """A stream that only accepts text; a context manager that writes the rest at its end.

    Args:
        stream: Where the text goes.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._waiting: queue.Queue[str | None] = queue.Queue(MAX_WAITING)
        self._error: OSError | None = None
        self._thread = threading.Thread(target=self._work, name="line-writer", daemon=True)
        self._thread.start()

    def write(self, text: str) -> int:
        """Accept text; it is written soon.

        Args:
            text: The text.

        Raises:
            OSError: Text before it could not be written, or too much waits for the disk.
        """
        if self._error is not None:
            raise self._error
        try:
            self._waiting.put_nowait(text)
        except queue.Full:
            raise OSError(None, "the disk is too slow") from None
        return len(text)

    def __enter__(self) -> LineWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Write what waits. Raises OSError if anything could not be written."""
        with contextlib.suppress(queue.Full):  # said below
            self._waiting.put(None, timeout=CLOSE_S)
        self._thread.join(CLOSE_S)
        if error is None and self._error is not None:
            raise self._error
        if error is None and self._thread.is_alive():
            raise OSError(None, "the disk is too slow")

    def _work(self) -> None:
        while (text := self._waiting.get()) is not None:
            if self._error is None:
                try:
                    self._stream.write(text)
                except OSError as error:
                    self._error = error
