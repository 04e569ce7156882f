"""Counts the frames that a leaky queue dropped; GStreamer's queue does not tell."""

from __future__ import annotations

from collections import deque


class QueueLosses:
    """Compares what arrives at a queue with what leaves it; the queue keeps the order.

    Attributes:
        arrived: Number of frames that arrived.
        lost: Number of them that did not leave.
    """

    def __init__(self) -> None:
        self.arrived = self.lost = 0
        self._waiting: deque[int] = deque()  # addresses of the buffers in the queue, and lost ones

    def arrive(self, address: int) -> None:
        """Note the address of a buffer that enters the queue."""
        self.arrived += 1
        self._waiting.append(address)

    def leave(self, address: int) -> None:
        """Count those that entered before the buffer that leaves now, and did not leave.

        A buffer that never entered, such as a repetition of the last frame, counts for nothing.
        """
        if address not in self._waiting:
            return
        while self._waiting.popleft() != address:
            self.lost += 1
