"""Marks that appear, move, go and come back."""

from __future__ import annotations

from xpnet.bench.mark_counter import MarkCounter


def test_mark_that_moves_or_flickers_counts_once() -> None:
    counter = MarkCounter()
    for number, boxes in enumerate(
        [
            [(0, 0, 100, 100)],
            [(10, 0, 100, 100), (400, 400, 50, 50)],
            [],
            [(20, 0, 100, 100)],
        ]
    ):
        counter.add(boxes, number * 0.04)
    counter.add([(20, 0, 100, 100)], 2.0)  # away for longer: a new one
    assert (counter.marks, counter.lasting) == (3, 1)
    assert (counter.frames, counter.frames_with_mark) == (5, 4)
