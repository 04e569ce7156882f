"""What is counted at a leaky queue."""

from __future__ import annotations

from deepstream.io.queue_losses import QueueLosses


def test_frames_that_wait_are_neither_settled_nor_lost() -> None:
    losses = QueueLosses(2)
    for address in (1, 2):
        losses.arrive(address)
    assert (losses.arrived, losses.settled, losses.lost) == (2, 0, 0)
    losses.arrive(3)  # the queue keeps two, so it has dropped one
    assert (losses.arrived, losses.settled, losses.lost) == (3, 1, 1)
    losses.leave(2)
    assert (losses.arrived, losses.settled, losses.lost) == (3, 2, 1)
    losses.leave(3)
    assert (losses.arrived, losses.settled, losses.lost) == (3, 3, 1)


def test_a_repetition_counts_for_nothing() -> None:
    losses = QueueLosses(2)
    losses.arrive(1)
    losses.leave(7)
    assert (losses.settled, losses.lost) == (0, 0)
    losses.leave(1)
    losses.leave(1)
    assert (losses.settled, losses.lost) == (1, 0)
