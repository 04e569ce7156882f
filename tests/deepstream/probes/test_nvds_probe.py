"""The released DeepStream probe on NVIDIA's real metadata, on real GStreamer buffers."""

from __future__ import annotations

import ctypes
import logging
from concurrent.futures import Future
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest

from deepstream.control.appearance import Appearance
from deepstream.control.controls import Controls
from deepstream.gstreamer import Gst
from deepstream.probes.base import PROBE_FAILED
from deepstream.probes.nvds_objects import COMPONENT_ID, UNTRACKED
from deepstream.probes.nvds_probe import iterate_meta
from deepstream.probes.polyp_results import PolypResults
from deepstream.probes.triton_probe import EveryProbes
from tests.deepstream.nvds import buffers, pyds, structures
from tests.deepstream.nvds.playing import (
    NVMM_POINTS,
    SIZE,
    nvds_probes,
    one_by_one,
    pipeline,
    pixels,
    surfaces,
    through,
)
from xpnet.card import Card
from xpnet.frames import Segmentation
from xpnet.polyps import CONFIRM_FRAMES

pytestmark = pytest.mark.integration


@pytest.fixture
def probability_map(card: Card) -> np.ndarray:
    """A probability map of two soft discs."""
    found = np.zeros((card.output.height, card.output.width), np.float32)
    cv2.circle(found, (150, 110), 40, 1.0, -1)
    cv2.circle(found, (40, 200), 14, 0.97, -1)
    return cv2.GaussianBlur(found, (0, 0), 3)


def class_map(probabilities: np.ndarray, threshold: float) -> np.ndarray:
    """Return the result of nvinferserver's parser for one channel: class 0 above, -1 below."""
    return np.where(probabilities > threshold, 0, -1).astype(np.int32)


class Answering:
    """An inference that always returns the same map."""

    def __init__(self, card: Card, probabilities: np.ndarray) -> None:
        self.card, self.probabilities = card, probabilities

    def submit(self, _tensor: np.ndarray) -> Future[np.ndarray]:
        future: Future[np.ndarray] = Future()
        future.set_result(self.probabilities)
        return future

    def abandon(self, reason: str) -> None:
        raise AssertionError(reason)

    def close(self) -> None:
        """Do nothing."""


def drawn_on_the_cpu(card: Card, frame: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    height, width = frame.shape[:2]
    probes = EveryProbes(height, width, Answering(card, probabilities), Controls(Appearance()))
    points = [("pacer", "src", "frame_arrived"), ("overlay", "src", "frame_leaves")]
    caps = f"video/x-raw,format=RGBA,width={width},height={height}"
    with pipeline(probes, points, caps) as playing:
        made = list(one_by_one(playing, [Gst.Buffer.new_wrapped(frame.tobytes())]))
    assert probes.statistics.probe_errors == 0
    return pixels(made[0], height, width)[0]


def test_our_structures_have_the_sizes_of_the_library() -> None:
    batch = pyds.meta_library.nvds_create_batch_meta(1)
    meta = structures.NvDsBatchMeta.from_address(batch)
    for pool, structure in (
        (meta._frame_meta_pool, structures.NvDsFrameMeta),
        (meta._obj_meta_pool, structures.NvDsObjectMeta),
        (meta._user_meta_pool, structures.NvDsUserMeta),
    ):
        size = structures.MetaPool.from_address(pool).element_size
        assert ctypes.sizeof(structure) == size, structure
    pyds.meta_library.nvds_destroy_batch_meta(batch)


@pytest.mark.parametrize("probabilities", [True, False], ids=["probabilities", "class map"])
def test_both_probes_draw_the_same_bytes(
    card: Card, frame: np.ndarray, probability_map: np.ndarray, probabilities: bool
) -> None:
    classes = class_map(probability_map, card.threshold)
    result = buffers.tensor(probability_map) if probabilities else buffers.segmentation(classes)
    probes = nvds_probes(card, probabilities=probabilities)
    drawn = surfaces(through(probes, buffers.batched(frame[None], [result]))[0], *SIZE)[0]
    expected_map = probability_map if probabilities else (classes == 0).astype(np.float32)
    np.testing.assert_array_equal(drawn, drawn_on_the_cpu(card, frame, expected_map))
    assert (drawn != frame).any(axis=2).mean() > 0.05
    assert probes.statistics.frames_with_polyp == probes.statistics.frames == 1
    assert probes.statistics.probe_errors == 0


@pytest.mark.parametrize(
    ("probabilities", "peak", "marked"), [(True, 0.75, 1), (True, 0.0, 2), (False, 0.75, 2)]
)
def test_peak_is_applied_to_probabilities_but_not_to_class_maps(
    card: Card, frame: np.ndarray, probabilities: bool, peak: float, marked: int
) -> None:
    found = np.zeros((card.output.height, card.output.width), np.float32)
    cv2.circle(found, (150, 110), 40, 1.0, -1)
    cv2.circle(found, (40, 200), 14, 0.6, -1)
    classes = class_map(found, card.threshold)
    result = buffers.tensor(found) if probabilities else buffers.segmentation(classes)
    seen: list[Segmentation] = []
    probes = nvds_probes(replace(card, peak=peak), probabilities=probabilities, on_mask=seen.append)
    through(probes, buffers.batched(frame[None], [result]))
    assert cv2.connectedComponents(seen[0].mask)[0] - 1 == marked


def test_tensor_that_is_not_finite_is_not_an_empty_mask(
    card: Card, frame: np.ndarray, probability_map: np.ndarray
) -> None:
    probability_map[3, 5] = np.nan
    probes = nvds_probes(card, probabilities=True)
    through(probes, buffers.batched(frame[None], [buffers.tensor(probability_map)]))
    assert probes.statistics.frames_without_mask == 1
    assert "not finite" in probes.statistics.inference_failure


def test_region_that_was_set_limits_the_mask_and_is_reported(card: Card, frame: np.ndarray) -> None:
    probes = nvds_probes(card)
    everywhere = buffers.segmentation(np.zeros((256, 256), np.int32))
    probes.controls.change({"region": "0.5,0,0.5,1"}, "http")
    drawn = surfaces(through(probes, buffers.batched(frame[None], [everywhere]))[0], *SIZE)[0]
    changed = (drawn != frame).any(axis=2)
    assert not changed[:, :350].any()  # the contour is a few pixels wide
    assert changed[:, 370:].any()
    assert probes.statistics.region == (0.5, 0.0, 0.5, 1.0)
    assert probes.statistics.probe_errors == 0


def test_scopes_picture_is_found_and_marked_and_limits_the_mask(card: Card) -> None:
    """Its left half is the dark border; the network marks everything."""
    frame = np.zeros((*SIZE, 4), np.uint8)
    frame[:, SIZE[1] // 2 :] = (180, 90, 80, 255)
    probes = nvds_probes(card, signs=True)
    probes.controls.change({"region": "auto"}, "http")
    everywhere = np.zeros((256, 256), np.int32)
    made = [
        buffers.batched(frame[None], [buffers.segmentation(everywhere)], n * 40_000_000)
        for n in range(26)
    ]
    with pipeline(probes, NVMM_POINTS, "video/x-raw") as playing:
        drawn = [surfaces(buffer, *SIZE)[0].copy() for buffer in one_by_one(playing, made)]
    assert probes.statistics.probe_errors == 0
    assert probes.statistics.region[0] == pytest.approx(0.5, abs=0.02)
    assert probes.statistics.region[2] == pytest.approx(0.5, abs=0.02)
    edge = SIZE[1] // 2
    assert drawn[0][60:-60, 4 : edge - 20].any()  # nothing is known yet
    assert not drawn[-1][60:-60, 4 : edge - 20].any()
    corner = drawn[-1][-8:-2, edge + 2 : edge + 12, :3].astype(int)
    assert (corner[..., 1] > corner[..., 0] + 50).any()  # a green corner of the region


def test_notice_of_a_lost_source_replaces_the_mask_without_signs_too(
    card: Card, frame: np.ndarray
) -> None:
    probes = nvds_probes(card, signs=False)
    polyp = buffers.segmentation(np.zeros((256, 256), np.int32))
    probes.statistics.source_lost = True
    drawn = surfaces(through(probes, buffers.batched(frame[None], [polyp]))[0], *SIZE)[0]
    assert not np.array_equal(drawn[10:40, 10:200], frame[10:40, 10:200])
    np.testing.assert_array_equal(drawn[60:], frame[60:])
    assert probes.statistics.probe_errors == 0


def test_each_frame_of_a_batch_gets_its_own_mask(card: Card, frame: np.ndarray) -> None:
    seen: list[Segmentation] = []
    left, right = (np.full((256, 256), -1, np.int32) for _ in range(2))
    left[100:150, 10:60], right[100:150, 200:250] = 0, 0
    made = buffers.batched(
        np.stack([frame] * 3),
        [buffers.segmentation(m) for m in (left, np.full_like(left, -1), right)],
        start_ns=1_000_000_000,
    )
    drawn = surfaces(through(nvds_probes(card, on_mask=seen.append), made)[0], *SIZE)
    changed = (drawn != frame).any(axis=3)
    assert changed[0, :, :360].any()
    assert not changed[0, :, 360:].any()
    assert not changed[1].any()
    assert changed[2, :, 360:].any()
    assert not changed[2, :, :360].any()
    assert [s.timestamp_ns for s in seen] == [1_000_000_000, 1_040_000_000, 1_080_000_000]
    assert [s.has_polyp for s in seen] == [True, False, True]


def test_polyps_become_objects_of_the_frame(
    card: Card, frame: np.ndarray, probability_map: np.ndarray
) -> None:
    reported: list[Any] = []
    results = PolypResults(on_polyps=lambda *arguments: reported.append(arguments))
    probes = nvds_probes(card, probabilities=True, results=results)
    made = [
        buffers.batched(frame[None], [buffers.tensor(probability_map)], number * 40_000_000)
        for number in range(CONFIRM_FRAMES)
    ]
    last = through(probes, *made)[-1]
    _, stamp, (large, small) = reported[-1]
    assert stamp == (CONFIRM_FRAMES - 1) * 40_000_000
    batch = pyds.gst_buffer_get_nvds_batch_meta(hash(last))
    (frame_meta,) = iterate_meta(batch.frame_meta_list, pyds.NvDsFrameMeta)
    found = {o.object_id: o for o in iterate_meta(frame_meta.obj_meta_list, pyds.NvDsObjectMeta)}
    assert frame_meta.num_obj_meta == 2
    assert sorted(found) == [1, 2] == sorted((large.id, small.id))
    meta = found[large.id]
    assert (meta.unique_component_id, meta.class_id, meta.obj_label) == (COMPONENT_ID, 0, "polyp")
    rect, box = meta.rect_params, meta.detector_bbox_info.org_bbox_coords
    for place in (rect, box):
        assert (place.left, place.top, place.width, place.height) == large.box
    assert meta.confidence == pytest.approx(large.probability)
    assert meta._misc_obj_info[0] == round(large.area * 1e6)  # as C code reads it
    text = pyds.get_string(meta.text_params.display_text)
    assert text == f"polyp {large.id}  {100 * large.area:.1f} %"
    mask = meta.mask_params.get_mask_array().reshape(large.box[3], large.box[2])
    assert mask.mean() * large.box[2] * large.box[3] == pytest.approx(
        large.area * 404 * 720, rel=0.01
    )


def test_a_polyp_that_is_not_confirmed_is_untracked(card: Card, frame: np.ndarray) -> None:
    classes = np.full((256, 256), -1, np.int32)
    classes[50:100, 50:100] = 0
    made = buffers.batched(frame[None], [buffers.segmentation(classes)])
    (last,) = through(nvds_probes(card), made)
    batch = pyds.gst_buffer_get_nvds_batch_meta(hash(last))
    (frame_meta,) = iterate_meta(batch.frame_meta_list, pyds.NvDsFrameMeta)
    (meta,) = iterate_meta(frame_meta.obj_meta_list, pyds.NvDsObjectMeta)
    assert meta.object_id == UNTRACKED
    assert meta.confidence == pytest.approx(-0.1)
    assert pyds.get_string(meta.text_params.display_text).startswith("polyp  ")


@pytest.mark.parametrize(
    ("probabilities", "make", "message"),
    [
        (False, lambda: None, "nvinferserver attached no mask to the frame"),
        (True, lambda: None, "attached no tensor (is output_tensor_meta on?) to the frame"),
        (
            False,
            lambda: buffers.segmentation(np.zeros((32, 64), np.int32)),
            "1 x 32 x 64, the card of xpnet_lite expects 1 x 256 x 256: check its config",
        ),
        (
            False,
            lambda: buffers.segmentation(np.zeros((256, 256), np.int32), classes=2),
            "2 x 256 x 256, the card",
        ),
        (
            True,
            lambda: buffers.tensor(np.zeros((16, 16), np.float32)),
            "1 x 16 x 16, the card of xpnet_lite",
        ),
    ],
    ids=["no mask", "no tensor", "another size", "two classes", "tensor of another size"],
)
def test_results_of_another_size_leave_the_frame_unchanged(
    card: Card, frame: np.ndarray, probabilities: bool, make: Any, message: str
) -> None:
    probes = nvds_probes(card, probabilities=probabilities)
    made = through(probes, buffers.batched(frame[None], [make()]))
    np.testing.assert_array_equal(surfaces(made[0], *SIZE)[0], frame)
    assert message in probes.statistics.inference_failure
    assert (probes.statistics.frames, probes.statistics.frames_without_mask) == (1, 1)
    assert probes.statistics.probe_errors == 0


def test_exception_is_posted_once_counted_and_passes_frames(
    card: Card, frame: np.ndarray, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(_: Segmentation) -> None:
        raise ValueError("a mistake in the program")

    probes = nvds_probes(card, on_mask=broken)
    made = [
        buffers.batched(frame[None], [buffers.segmentation(np.zeros((256, 256), np.int32))])
        for _ in range(5)
    ]
    with caplog.at_level(logging.ERROR), pipeline(probes, NVMM_POINTS, "video/x-raw") as playing:
        assert len(list(one_by_one(playing, made))) == 5
        posted = warnings_of(playing)
    assert probes.statistics.probe_errors == probes.statistics.frames == 5
    assert probes.statistics.frames_without_mask == 5
    (message,) = posted
    assert message.src.get_name() == "overlay"
    details = message.parse_warning_details()
    assert details.get_name() == PROBE_FAILED
    assert details.get_string("probe") == "frame_leaves"
    assert details.get_string("reason") == "ValueError: a mistake in the program"
    assert len(caplog.records) == 1


def test_exception_in_one_frame_does_not_affect_the_batch(card: Card, frame: np.ndarray) -> None:
    seen: list[Segmentation] = []

    def broken_once(segmentation: Segmentation) -> None:
        seen.append(segmentation)
        if len(seen) == 1:
            raise ValueError("a mistake in the program")

    probes = nvds_probes(card, on_mask=broken_once)
    classes = [buffers.segmentation(np.zeros((256, 256), np.int32)) for _ in range(3)]
    through(probes, buffers.batched(np.stack([frame] * 3), classes))
    assert len(seen) == probes.statistics.frames == 3
    assert (probes.statistics.probe_errors, probes.statistics.frames_without_mask) == (1, 1)


def warnings_of(playing: Any) -> list[Any]:
    posted = []
    while message := playing.get_bus().pop_filtered(Gst.MessageType.WARNING):
        posted.append(message)
    return posted


def test_buffer_without_metadata_is_reported(card: Card, frame: np.ndarray) -> None:
    probes = nvds_probes(card)
    made = through(probes, Gst.Buffer.new_wrapped(frame.tobytes()))
    np.testing.assert_array_equal(pixels(made[0], *SIZE)[0], frame)
    assert "has no NvDsBatchMeta: expected nvstreammux" in probes.statistics.probe_error
