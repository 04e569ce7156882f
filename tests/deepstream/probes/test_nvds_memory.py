"""What the DeepStream probe leaves behind after many frames: nothing."""

from __future__ import annotations

import ctypes
from collections import deque
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pytest

from deepstream.probes.nvds_probe import NvdsProbes
from tests.deepstream.nvds import buffers
from tests.deepstream.nvds.playing import NVMM_POINTS, nvds_probes, one_by_one, pipeline
from xpnet.card import Card, read_card
from xpnet.frames import Segmentation
from xpnet.triton.server import REPOSITORY

pytestmark = pytest.mark.integration


@pytest.fixture
def card() -> Card:
    return read_card(REPOSITORY / "xpnet_lite" / "card.json")


def resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096


BATCH = 25
STRETCHES = 20
MAY_GROW = 28
"""Bytes a frame: the least leak, a label's text, takes 32 with malloc's head, and a result of
nvinferserver thousands."""
FRAMES, FEWER = 100_000, 20_000
SMALL = (48, 64)


def grown_a_frame(probes: NvdsProbes, make: Callable[[], Any], frames: int) -> float:
    """By how many bytes a frame the process grows, over so many frames and a quarter before them.

    The median of twenty equal stretches: a leak is in each of them, while an allocator's new
    arena, some MiB once in a while when two threads meet, is in one.
    """
    probes.statistics.latency_s = deque(maxlen=BATCH)  # the newest times are kept by intent
    picture = np.full((BATCH, *SMALL, 4), 90, np.uint8)
    batches = frames // BATCH
    stretch = batches // STRETCHES

    def made() -> Any:
        for number in range(batches // 4 + batches):
            results = [make() for _ in range(BATCH)]
            yield buffers.batched(picture, results, number * BATCH * 40_000_000)

    sizes = []
    ctypes.CDLL(None).malloc_trim(0)  # what earlier tests freed would hide a small leak
    with pipeline(probes, NVMM_POINTS, "video/x-raw") as playing:
        for number, _ in enumerate(one_by_one(playing, made()), 1):
            if number >= batches // 4 and (number - batches // 4) % stretch == 0:
                sizes.append(resident_bytes())
    assert len(sizes) == STRETCHES + 1
    assert probes.statistics.frames == (batches // 4 + batches) * BATCH
    return median(np.diff(sizes)) / (stretch * BATCH)


def small_classes(polyp: bool) -> np.ndarray:
    classes = np.full((32, 32), -1, np.int32)
    if polyp:
        classes[8:20, 10:24] = 0
    return classes


@pytest.mark.parametrize("masks", [True, False], ids=["with masks", "without masks"])
def test_a_hundred_thousand_frames_leave_no_memory_behind(card: Card, masks: bool) -> None:
    classes = small_classes(masks)
    probes = nvds_probes(card.at_size(32, 32), SMALL)
    grown = grown_a_frame(probes, lambda: buffers.segmentation(classes), FRAMES)
    assert probes.statistics.frames_with_polyp == (probes.statistics.frames if masks else 0)
    assert (probes.statistics.probe_errors, probes.statistics.frames_without_mask) == (0, 0)
    assert grown < MAY_GROW, f"{grown:.0f} bytes more with each frame"


def test_tensors_leave_no_memory_behind(card: Card) -> None:
    found = (small_classes(True) == 0).astype(np.float32)
    probes = nvds_probes(card.at_size(32, 32), SMALL, tensors=True)
    grown = grown_a_frame(probes, lambda: buffers.tensor(found), FEWER)
    assert probes.statistics.frames_with_polyp == probes.statistics.frames
    assert grown < MAY_GROW, f"{grown:.0f} bytes more with each frame"


def test_mistakes_leave_no_memory_behind(card: Card) -> None:
    """A traceback holds the frame's arrays until it is gone."""

    def broken(_: Segmentation) -> None:
        raise ValueError("a mistake in the program")

    probes = nvds_probes(card.at_size(32, 32), SMALL, on_mask=broken)
    classes = small_classes(True)
    grown = grown_a_frame(probes, lambda: buffers.segmentation(classes), FEWER)
    assert probes.statistics.probe_errors == probes.statistics.frames
    assert grown < MAY_GROW, f"{grown:.0f} bytes more with each frame"


def test_the_least_leak_is_seen(card: Card) -> None:
    malloc = ctypes.CDLL(None).malloc

    def leaking(_: Segmentation) -> None:
        malloc(20)

    probes = nvds_probes(card.at_size(32, 32), SMALL, on_mask=leaking)
    classes = small_classes(True)
    grown = grown_a_frame(probes, lambda: buffers.segmentation(classes), FEWER)
    assert grown >= MAY_GROW, f"{grown:.0f} bytes more with each frame"
