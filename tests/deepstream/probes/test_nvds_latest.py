"""Mode `latest` on DeepStream: frames that nvinferserver skips show the newest mask."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from deepstream.probes.nvds_probe import NvdsProbes, iterate_meta
from deepstream.probes.polyp_results import PolypResults
from tests.deepstream.nvds import buffers, pyds
from tests.deepstream.nvds.playing import (
    NVMM_POINTS,
    SIZE,
    nvds_probes,
    one_by_one,
    pipeline,
    surfaces,
)
from xpnet.card import Card
from xpnet.frames import Segmentation

pytestmark = pytest.mark.integration

FRAME_NS = 40_000_000


def square(left: int) -> np.ndarray:
    """Return a class map with a polyp at a column."""
    classes = np.full((256, 256), -1, np.int32)
    classes[100:160, left : left + 60] = 0
    return classes


def played(
    probes: NvdsProbes, frame: np.ndarray, masks: list[int | None], step_ns: int = FRAME_NS
) -> list[np.ndarray]:
    """Play frames, each with a polyp at a column as its mask, or skipped; return the result."""
    made = [
        buffers.batched(
            frame[None],
            [None if left is None else buffers.segmentation(square(left))],
            number * step_ns,
        )
        for number, left in enumerate(masks)
    ]
    with pipeline(probes, NVMM_POINTS, "video/x-raw") as playing:
        return [surfaces(buffer, *SIZE)[0].copy() for buffer in one_by_one(playing, made)]


def test_skipped_frames_show_the_newest_mask_and_record_its_age(
    card: Card, frame: np.ndarray
) -> None:
    seen: list[Segmentation] = []
    reported: list[Any] = []
    results = PolypResults(on_polyps=lambda *arguments: reported.append(arguments))
    probes = nvds_probes(card, interval=2, on_mask=seen.append, results=results)
    drawn = played(probes, frame, [20, None, None, None, 150, None])
    np.testing.assert_array_equal(drawn[1], drawn[0])
    np.testing.assert_array_equal(drawn[2], drawn[0])
    np.testing.assert_array_equal(drawn[3], frame)  # one more than nvinferserver skips
    np.testing.assert_array_equal(drawn[5], drawn[4])
    assert not np.array_equal(drawn[4], drawn[0])
    ages = [round(1000 * age) for age in probes.statistics.mask_age_s]
    assert ages == [0, 40, 80, 0, 40]
    assert [s.timestamp_ns for s in seen] == [0, 0, 0, 4 * FRAME_NS, 4 * FRAME_NS]
    assert [number for number, _, polyps in reported if polyps is None] == [3]
    found = probes.statistics
    assert (found.frames, found.frames_with_polyp, found.frames_without_mask) == (6, 5, 1)
    assert found.probe_errors == 0


def test_repeated_mask_counts_once_for_confirmation(card: Card, frame: np.ndarray) -> None:
    """An id is assigned after three masks, not after three frames with one mask."""
    reported: list[Any] = []
    results = PolypResults(on_polyps=lambda *arguments: reported.append(arguments))
    probes = nvds_probes(card, interval=2, results=results)
    played(probes, frame, [20, None, None] * 3)
    assert [polyps[0].id for _, _, polyps in reported] == [None] * 6 + [1] * 3


def test_mask_older_than_the_limit_is_not_shown(card: Card, frame: np.ndarray) -> None:
    probes = nvds_probes(card, interval=2, max_mask_age_s=0.2)
    drawn = played(probes, frame, [20, None, None], step_ns=120_000_000)
    np.testing.assert_array_equal(drawn[1], drawn[0])
    np.testing.assert_array_equal(drawn[2], frame)


def test_without_an_interval_a_frame_without_a_mask_has_none(card: Card, frame: np.ndarray) -> None:
    probes = nvds_probes(card)
    np.testing.assert_array_equal(played(probes, frame, [20, None])[1], frame)
    assert (probes.statistics.frames_without_mask, len(probes.statistics.mask_age_s)) == (1, 0)


def test_each_source_of_a_batch_has_a_newest_mask_of_its_own(card: Card, frame: np.ndarray) -> None:
    probes = nvds_probes(card, interval=1)
    first = [buffers.segmentation(square(20)), buffers.segmentation(square(150))]
    made = [
        buffers.batched(np.stack([frame] * 2), first),
        buffers.batched(np.stack([frame] * 2), [None, None], FRAME_NS),
    ]
    with pipeline(probes, NVMM_POINTS, "video/x-raw") as playing:
        own, shown = [surfaces(b, *SIZE).copy() for b in one_by_one(playing, made)]
    np.testing.assert_array_equal(shown, own)
    assert not np.array_equal(own[0], own[1])


def test_objects_are_attached_to_every_frame_that_shows_a_polyp(
    card: Card, frame: np.ndarray
) -> None:
    probes = nvds_probes(card, interval=1)
    made = [
        buffers.batched(frame[None], [buffers.segmentation(square(20))]),
        buffers.batched(frame[None], [None], FRAME_NS),
    ]
    with pipeline(probes, NVMM_POINTS, "video/x-raw") as playing:
        for buffer in one_by_one(playing, made):
            batch = pyds.gst_buffer_get_nvds_batch_meta(hash(buffer))
            (frame_meta,) = iterate_meta(batch.frame_meta_list, pyds.NvDsFrameMeta)
            assert frame_meta.num_obj_meta == 1


def test_signs_show_if_the_assistant_works(card: Card, frame: np.ndarray) -> None:
    probes = nvds_probes(card, signs=True)
    ready, failed = played(probes, frame, [20, None])
    corner = (slice(10, 40), slice(10, 200))
    assert not np.array_equal(ready[corner], frame[corner])
    assert not np.array_equal(failed[corner], frame[corner])
    np.testing.assert_array_equal(failed[40:], frame[40:])
    assert (failed[corner] != ready[corner]).mean() > 0.2  # a notice is larger than a dot
    assert probes.statistics.probe_errors == 0
