"""What the DeepStream probe leaves behind after many frames: nothing."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deepstream.nvds_probe import NvdsProbes
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
MAY_GROW = 2 * 2**20
"""Bytes over the frames that follow: 28 a frame of FRAMES, where the least leak, a label's text,
takes 32 with malloc's head, and a result of nvinferserver thousands."""
FRAMES, FEWER = 100_000, 20_000
SMALL = (48, 64)


def grown_bytes(probes: NvdsProbes, make: Callable[[], Any], frames: int) -> int:
    """By how much the process grew over the last three quarters of so many frames."""
    probes.statistics.latency_s = deque(maxlen=BATCH)  # the newest times are kept by intent
    picture = np.full((BATCH, *SMALL, 4), 90, np.uint8)

    def made() -> Any:
        for number in range(frames // BATCH):
            results = [make() for _ in range(BATCH)]
            yield buffers.batched(picture, results, number * BATCH * 40_000_000)

    warm = 0
    with pipeline(probes, NVMM_POINTS, "video/x-raw") as playing:
        for number, _ in enumerate(one_by_one(playing, made()), 1):
            if number == frames // BATCH // 4:
                warm = resident_bytes()
        grown = resident_bytes() - warm
    assert probes.statistics.frames == frames
    return grown


def small_classes(polyp: bool) -> np.ndarray:
    classes = np.full((32, 32), -1, np.int32)
    if polyp:
        classes[8:20, 10:24] = 0
    return classes


@pytest.mark.parametrize("masks", [True, False], ids=["with masks", "without masks"])
def test_a_hundred_thousand_frames_leave_no_memory_behind(card: Card, masks: bool) -> None:
    classes = small_classes(masks)
    probes = nvds_probes(card.at_size(32, 32), SMALL)
    grown = grown_bytes(probes, lambda: buffers.segmentation(classes), FRAMES)
    assert probes.statistics.frames_with_polyp == (FRAMES if masks else 0)
    assert (probes.statistics.probe_errors, probes.statistics.frames_without_mask) == (0, 0)
    assert grown < MAY_GROW, f"{grown / 2**20:.1f} MiB more after {FRAMES} frames"


def test_tensors_leave_no_memory_behind(card: Card) -> None:
    found = (small_classes(True) == 0).astype(np.float32)
    probes = nvds_probes(card.at_size(32, 32), SMALL, tensors=True)
    grown = grown_bytes(probes, lambda: buffers.tensor(found), FEWER)
    assert probes.statistics.frames_with_polyp == FEWER
    assert grown < MAY_GROW / 2, f"{grown / 2**20:.1f} MiB more after {FEWER} frames"


def test_mistakes_leave_no_memory_behind(card: Card) -> None:
    """A traceback holds the frame's arrays until it is gone."""

    def broken(_: Segmentation) -> None:
        raise ValueError("a mistake in the program")

    probes = nvds_probes(card.at_size(32, 32), SMALL, on_mask=broken)
    classes = small_classes(True)
    grown = grown_bytes(probes, lambda: buffers.segmentation(classes), FEWER)
    assert probes.statistics.probe_errors == FEWER
    assert grown < MAY_GROW / 2, f"{grown / 2**20:.1f} MiB more after {FEWER} frames"
