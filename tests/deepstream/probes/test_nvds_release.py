"""What the DeepStream probe releases, and when: surfaces, tensors, metadata."""

from __future__ import annotations

import gc

import numpy as np
import pytest

from deepstream.probes.pixels import data_address
from tests.deepstream.nvds import buffers, pyds
from tests.deepstream.nvds.playing import nvds_probes, through
from xpnet.card import Card

pytestmark = pytest.mark.integration


def test_jetson_surface_is_unmapped_even_if_drawing_fails(
    card: Card, frame: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The drawing is synchronised for the hardware first, then unmapped."""
    classes = np.zeros((256, 256), np.int32)
    probes = nvds_probes(card, jetson=True)
    made = through(
        probes, buffers.batched(np.stack([frame] * 2), [None, buffers.segmentation(classes)])
    )
    assert (pyds.synced, pyds.unmapped) == ([(data_address(hash(made[0])), 1)], [1])
    assert probes.statistics.probe_errors == 0
    pyds.unmapped.clear()
    with monkeypatch.context() as broken:
        broken.setattr("deepstream.probes.nvds_probe.draw_mask", lambda *_: 1 / 0)
        through(probes, buffers.batched(frame[None], [buffers.segmentation(classes)]))
    assert (len(pyds.synced), pyds.unmapped) == (2, [0])
    pyds.unmapped.clear()
    monkeypatch.setattr(pyds, "NvBufSurfaceSyncForDevice", lambda *_: -1)
    through(probes, buffers.batched(frame[None], [buffers.segmentation(classes)]))
    assert pyds.unmapped == [0]
    assert probes.statistics.probe_errors == 2
    nothing = nvds_probes(card)
    through(nothing, buffers.batched(frame[None], [None]))
    assert pyds.unmapped == []


@pytest.mark.parametrize("size", [256, 16], ids=["that fits", "that does not fit"])
def test_tensor_is_released_before_its_frame(card: Card, frame: np.ndarray, size: int) -> None:
    """An encoder keeps more frames than nvinferserver has output buffers."""
    gc.collect()
    outstanding = buffers.made - buffers.released
    results = [buffers.tensor(np.ones((size, size), np.float32)) for _ in range(2)]
    probes = nvds_probes(card, probabilities=True)
    made = through(probes, buffers.batched(np.stack([frame] * 2), results))
    assert len(made) == 1
    assert buffers.made - buffers.released == outstanding
    assert probes.statistics.frames_without_mask == (0 if size == 256 else 2)
    assert probes.statistics.probe_errors == 0


def test_results_are_released_to_nvidias_library(card: Card, frame: np.ndarray) -> None:
    gc.collect()
    outstanding = buffers.made - buffers.released
    results = [buffers.segmentation(np.zeros((256, 256), np.int32)) for _ in range(2)]
    made = through(nvds_probes(card), buffers.batched(np.stack([frame] * 2), results))
    assert buffers.made - buffers.released == outstanding + 2
    del made
    gc.collect()
    assert buffers.made - buffers.released == outstanding
