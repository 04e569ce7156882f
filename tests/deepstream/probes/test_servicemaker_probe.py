"""The probe on pyservicemaker: the same cases as the pyds probe, on a stand-in of the bindings."""

from __future__ import annotations

import io
import json
from typing import Any

import cv2
import numpy as np
import pytest

from deepstream.control.appearance import Appearance
from deepstream.control.controls import Controls
from deepstream.probes.nvds_objects import COMPONENT_ID, UNTRACKED
from deepstream.probes.pixels import CLOCK_TIME_NONE
from deepstream.probes.polyp_results import PolypResults
from deepstream.probes.servicemaker_probe import (
    MAX_POINTS,
    ServiceMakerProbes,
    batch_operator,
    simplified,
)
from tests.deepstream.nvds import buffers, servicemaker
from tests.deepstream.nvds.playing import SIZE, nvds_probes, through
from tests.deepstream.nvds.servicemaker import BatchMetadata, FrameMetadata
from xpnet.card import Card
from xpnet.frames import Segmentation
from xpnet.polyps import CONFIRM_FRAMES

pytestmark = pytest.mark.integration

FRAME_NS = 40_000_000


def disc(*centre: int, radius: int = 40) -> np.ndarray:
    """Return nvinferserver's class map with one polyp."""
    classes = np.zeros((256, 256), np.uint8)
    cv2.circle(classes, centre, radius, 1, -1)
    return np.where(classes, 0, -1).astype(np.int32)


def empty() -> np.ndarray:
    return np.full((256, 256), -1, np.int32)


def made(
    card: Card, signs: bool = False, **options: Any
) -> tuple[ServiceMakerProbes, servicemaker.Probe]:
    """Return the probe's logic, and pyservicemaker's Probe that calls it."""
    controls = Controls(Appearance(signs=signs))
    probes = ServiceMakerProbes(*SIZE, controls, card=card, psm=servicemaker, **options)
    return probes, servicemaker.Probe("polyps", batch_operator(servicemaker, probes))


def lines(frame: FrameMetadata) -> np.ndarray:
    """Return the lines that nvdsosd draws, K x 4."""
    found = [line for display in frame._displays for line in display._lines]
    return np.array(found, dtype=np.int32).reshape(-1, 4)


def test_contour_text_and_object_of_a_polyp(card: Card) -> None:
    seen: list[Segmentation] = []
    probes, probe = made(card, on_mask=seen.append)
    frames = [FrameMetadata(n * FRAME_NS, disc(128, 128)) for n in range(CONFIRM_FRAMES)]
    for frame in frames:
        probe._pass(BatchMetadata([frame]))
    last = frames[-1]
    drawn = lines(last)
    np.testing.assert_array_equal(drawn[:, 2:], np.roll(drawn[:, :2], -1, axis=0))  # closed
    canvas = np.zeros(SIZE, np.uint8)
    cv2.fillPoly(canvas, [np.ascontiguousarray(drawn[:, :2])], 1)
    both = (canvas & seen[-1].mask).sum()
    assert 2 * both / (canvas.sum() + seen[-1].mask.sum()) > 0.99
    assert last._displays[0]._colours == {(0.0, 229 / 255, 1.0, 1.0)}
    (meta,) = last._objects
    (text,) = [text for display in last._displays for text in display._texts]
    assert text[0] == f"polyp 1  {100 * seen[-1].mask.mean():.1f} %"
    assert (meta.unique_component_id, meta.class_id, meta.label) == (COMPONENT_ID, 0, "polyp")
    assert (meta.object_id, meta.confidence) == (1, -0.1)
    left, top, width, height = cv2.boundingRect(seen[-1].mask)
    box = {"left": left, "top": top, "width": width, "height": height}
    assert meta.nv_bbox_info == box
    assert {name: getattr(meta.rect_params, name) for name in box} == box
    assert frames[0]._objects[0].object_id == UNTRACKED
    assert probes.statistics.frames_with_polyp == probes.statistics.frames == CONFIRM_FRAMES
    assert probes.statistics.probe_errors == 0


def test_json_lines_are_those_of_the_pyds_probe(card: Card, frame: np.ndarray) -> None:
    maps = [disc(100 + 5 * n, 120) if n != 4 else empty() for n in range(8)]
    written = []
    for run in ("pyds", "pyservicemaker"):
        stream = io.StringIO()
        results = PolypResults(stream)
        if run == "pyds":
            probes = nvds_probes(card, results=results)
            through(probes, *(
                buffers.batched(frame[None], [buffers.segmentation(m)], n * FRAME_NS)
                for n, m in enumerate(maps)
            ))  # fmt: skip
        else:
            _, probe = made(card, results=results)
            for number, classes in enumerate(maps):
                probe._pass(BatchMetadata([FrameMetadata(number * FRAME_NS, classes)]))
        written.append([json.loads(line) for line in stream.getvalue().splitlines()])
    assert written[0] == written[1]
    assert len(written[0]) == len(maps)


def test_each_frame_of_a_batch_gets_its_own_mask(card: Card) -> None:
    seen: list[Segmentation] = []
    _, probe = made(card, on_mask=seen.append)
    frames = [
        FrameMetadata(n, m, source=n) for n, m in enumerate((disc(50, 50), empty(), disc(200, 50)))
    ]
    probe._pass(BatchMetadata(frames))
    left, none, right = (lines(frame) for frame in frames)
    assert left[:, 0].max() < SIZE[1] / 2 < right[:, 0].min()
    assert len(none) == 0
    assert not frames[1]._displays
    assert [s.timestamp_ns for s in seen] == [0, 1, 2]


@pytest.mark.parametrize(
    ("classes", "count", "message"),
    [
        (None, 1, "nvinferserver attached no mask to the frame"),
        (np.zeros((32, 64), np.int32), 1, "1 x 32 x 64, the card of xpnet_lite expects 1 x 256"),
        (np.zeros((256, 256), np.int32), 2, "2 x 256 x 256, the card"),
    ],
    ids=["no mask", "another size", "two classes"],
)
def test_results_of_another_size_draw_nothing(
    card: Card, classes: np.ndarray | None, count: int, message: str
) -> None:
    probes, probe = made(card)
    frame = FrameMetadata(0, classes, count=count)
    probe._pass(BatchMetadata([frame]))
    assert not frame._displays
    assert not frame._objects
    assert message in probes.statistics.inference_failure
    assert (probes.statistics.frames, probes.statistics.frames_without_mask) == (1, 1)
    assert probes.statistics.probe_errors == 0


def test_skipped_frames_show_the_newest_mask_of_their_source(card: Card) -> None:
    probes, probe = made(card, interval=1)
    maps = {0: (disc(50, 50), None, None), 1: (empty(), None, None)}
    frames = [
        [FrameMetadata(n * FRAME_NS, maps[source][n], source=source) for source in maps]
        for n in range(3)
    ]
    for batch in frames:
        probe._pass(BatchMetadata(batch))
    assert [len(batch[0]._objects) for batch in frames] == [1, 1, 0]
    assert not any(batch[1]._objects for batch in frames)
    assert probes.statistics.frames_without_mask == 2


def test_exception_in_one_frame_does_not_affect_the_batch(
    card: Card, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[Segmentation] = []

    def broken_once(segmentation: Segmentation) -> None:
        seen.append(segmentation)
        if len(seen) == 1:
            raise ValueError("a mistake in the program")

    probes, probe = made(card, on_mask=broken_once)
    probe._pass(BatchMetadata([FrameMetadata(n, disc(50, 50), source=n) for n in range(3)]))
    assert len(seen) == probes.statistics.frames == 3
    assert (probes.statistics.probe_errors, probes.statistics.frames_without_mask) == (1, 1)
    assert "a mistake in the program" in caplog.text
    probe._pass(None)  # type: ignore[arg-type]
    assert probes.statistics.probe_errors == 2


def test_frame_without_a_timestamp(card: Card) -> None:
    seen: list[Segmentation] = []
    _, probe = made(card, on_mask=seen.append)
    probe._pass(BatchMetadata([FrameMetadata(CLOCK_TIME_NONE, disc(50, 50))]))
    assert [s.timestamp_ns for s in seen] == [None]


def test_ragged_contour_is_drawn_with_few_lines(card: Card) -> None:
    rng = np.random.default_rng(0)
    noise = cv2.GaussianBlur(rng.normal(size=(256, 256)).astype(np.float32), (0, 0), 6)
    classes = np.where((disc(128, 128, radius=110) == 0) & (noise > -0.02), 0, -1)
    probes, probe = made(card)
    frame = FrameMetadata(0, classes.astype(np.int32))
    probe._pass(BatchMetadata([frame]))
    assert probes.statistics.probe_errors == 0
    assert len(frame._objects) >= 1
    assert len(lines(frame)) <= MAX_POINTS * len(frame._objects)
    angles = np.linspace(0, 2 * np.pi, 900, endpoint=False)
    wave = 100 + 30 * np.sin(40 * angles)
    contour = np.stack([200 + wave * np.cos(angles), 200 + wave * np.sin(angles)], 1)
    assert 3 <= len(simplified(contour.astype(np.int32), MAX_POINTS)) <= MAX_POINTS


def test_stand_in_refuses_what_the_bindings_refuse() -> None:
    line = servicemaker.osd.Line()
    for name, value in (("x1", -1), ("x1", 1.5), ("width", 2**32), ("thickness", 1)):
        with pytest.raises((TypeError, AttributeError)):
            setattr(line, name, value)
    batch = BatchMetadata([FrameMetadata(0, None), FrameMetadata(1, None)])
    first, _ = batch.frame_items
    with pytest.raises(RuntimeError, match="after its iterator advanced"):
        assert first.buffer_pts


def test_signs_say_that_a_frame_has_no_mask_or_that_masks_are_off(card: Card) -> None:
    probes, probe = made(card, signs=True)
    failed, ready, off = (
        FrameMetadata(0, None),
        *(FrameMetadata(n * FRAME_NS, disc(128, 128)) for n in (1, 2)),
    )
    probe._pass(BatchMetadata([failed]))
    assert probes.statistics.assistant == "not available"
    probe._pass(BatchMetadata([ready]))
    assert probes.statistics.assistant == "ready"
    probes.controls.change({"enabled": False}, "key")
    probe._pass(BatchMetadata([off]))
    texts = [
        [text[0] for display in frame._displays for text in display._texts]
        for frame in (failed, ready, off)
    ]
    assert texts[0] == ["AI NOT AVAILABLE"]
    assert [text.startswith("polyp") for text in texts[1]] == [True]
    assert texts[2] == ["AI OFF"]
    assert len(lines(off)) == 0
