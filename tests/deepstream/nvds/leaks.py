"""Measures by how much a process grows with each frame that passes the DeepStream probe.

    python -m tests.deepstream.nvds.leaks CASE FRAMES      prints JSON

It runs in a process of its own: after other work, a leak first fills the freed memory, and the
process does not grow.
"""

from __future__ import annotations

import ctypes
import json
import sys
from collections import deque
from collections.abc import Callable, Iterator
from statistics import median
from typing import Any

import numpy as np

from deepstream.probes.nvds_probe import NvdsProbes
from tests.deepstream.nvds import buffers
from tests.deepstream.nvds.playing import NVMM_POINTS, nvds_probes, one_by_one, pipeline
from xpnet.card import read_card
from xpnet.frames import Segmentation
from xpnet.host.processes import resident_bytes
from xpnet.paths import MODEL_REPOSITORY

BATCH, STRETCHES = 25, 20
SIZE = (48, 64)
LEAST = 20
"""Bytes of the smallest leak, a label's text; malloc makes 32 of them."""


def main() -> None:
    """Play a quarter of FRAMES as warm-up, and then FRAMES."""
    case, frames = sys.argv[1], int(sys.argv[2])
    probes, make = CASES[case]()
    grown = grown_a_frame(probes, make, frames)
    counted = probes.statistics
    names = ("frames", "frames_with_polyp", "frames_without_mask", "probe_errors")
    print(json.dumps({"grown": grown, **{name: getattr(counted, name) for name in names}}))


def grown_a_frame(probes: NvdsProbes, make: Callable[[], Any], frames: int) -> float:
    """Return the growth of resident memory in bytes per frame: the median of twenty stretches.

    A leak is in every stretch, while an allocator's new arena (some MiB when two threads meet) is
    in one.
    """
    probes.statistics.latency_s = deque(maxlen=BATCH)  # the newest times are kept on purpose
    picture = np.full((BATCH, *SIZE, 4), 90, np.uint8)
    batches, warm = frames // BATCH, frames // BATCH // 4
    stretch = batches // STRETCHES

    def made() -> Iterator[Any]:
        for number in range(warm + batches):
            results = [make() for _ in range(BATCH)]
            yield buffers.batched(picture, results, number * BATCH * 40_000_000)

    sizes = []
    with pipeline(probes, NVMM_POINTS, "video/x-raw") as playing:
        for number, _ in enumerate(one_by_one(playing, made()), 1):
            if number >= warm and (number - warm) % stretch == 0:
                sizes.append(resident_bytes())
    assert len(sizes) == STRETCHES + 1
    return float(median(np.diff(sizes))) / (stretch * BATCH)


def _probes(**options: Any) -> NvdsProbes:
    card = read_card(MODEL_REPOSITORY / "xpnet_lite" / "card.json").at_size(32, 32)
    return nvds_probes(card, SIZE, **options)


def _classes(polyp: bool = True) -> np.ndarray:
    classes = np.full((32, 32), -1, np.int32)
    if polyp:
        classes[8:20, 10:24] = 0
    return classes


def _masks(polyp: bool = True, **options: Any) -> tuple[NvdsProbes, Callable[[], Any]]:
    classes = _classes(polyp)
    return _probes(**options), lambda: buffers.segmentation(classes)


def _tensors() -> tuple[NvdsProbes, Callable[[], Any]]:
    found = (_classes() == 0).astype(np.float32)
    return _probes(probabilities=True), lambda: buffers.tensor(found)


def _mistakes() -> tuple[NvdsProbes, Callable[[], Any]]:
    """A traceback keeps the frame's arrays until it is released."""

    def broken(_: Segmentation) -> None:
        raise ValueError("a mistake in the program")

    return _masks(on_mask=broken)


def _leak() -> tuple[NvdsProbes, Callable[[], Any]]:
    malloc = ctypes.CDLL(None).malloc

    def leaking(_: Segmentation) -> None:
        malloc(LEAST)

    return _masks(on_mask=leaking)


CASES: dict[str, Callable[[], tuple[NvdsProbes, Callable[[], Any]]]] = {
    "masks": _masks,
    "no masks": lambda: _masks(polyp=False),
    "tensors": _tensors,
    "mistakes": _mistakes,
    "leak": _leak,
}


if __name__ == "__main__":
    main()
