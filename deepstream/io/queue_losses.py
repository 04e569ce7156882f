"""Counts the frames that a leaky queue dropped; GStreamer's queue does not tell."""

from __future__ import annotations

import threading
from collections import deque


class QueueLosses:
    """Compares what arrives at a queue with what leaves it; the queue keeps the order.

    The threads before and behind the queue write; any thread may read, and no count ever falls.

    Attributes:
        arrived: Number of frames that arrived.
    """

    def __init__(self, size: int) -> None:
        """Count nothing yet.

        Args:
            size: How many frames the queue keeps at most.
        """
        self.arrived, self._lost, self._size = 0, 0, size
        self._waiting: deque[int] = deque()  # addresses of the buffers in the queue, and lost ones
        self._lock = threading.Lock()

    @property
    def settled(self) -> int:
        """Number of frames that arrived and are no longer in the queue."""
        with self._lock:
            return self.arrived - min(len(self._waiting), self._size)

    @property
    def lost(self) -> int:
        """Number of frames that arrived, did not leave, and are not in the queue."""
        with self._lock:
            return self._lost + max(0, len(self._waiting) - self._size)

    def arrive(self, address: int) -> None:
        """Note the address of a buffer that enters the queue."""
        with self._lock:
            self.arrived += 1
            self._waiting.append(address)

    def leave(self, address: int) -> None:
        """Count those that entered before the buffer that leaves now, and did not leave.

        A buffer that never entered, such as a repetition of the last frame, counts for nothing.
        """
        with self._lock:
            if address not in self._waiting:
                return
            while self._waiting.popleft() != address:
                self._lost += 1
