"""The scope's picture within the frame: octagons, texts, a map, and the demo clip's real frames."""

from __future__ import annotations

from itertools import islice

import cv2
import numpy as np
import pytest

from tests.conftest import CLIP
from xpnet.errors import UserError
from xpnet.frames import Frame
from xpnet.images import clip_frames
from xpnet.scope_region import (
    MIN_FRAMES,
    SIDE,
    WINDOW,
    RegionFinder,
    brightness,
    cut,
    parse_region,
    region_of,
    region_overlap,
    whole_frame,
)

OCTAGON = np.array([(220, 40), (480, 40), (560, 120), (560, 320), (480, 400), (220, 400),
                    (140, 320), (140, 120)])  # fmt: skip


def octagon(level: int = 150, border: int = 10) -> Frame:
    """Return a frame of 640 x 440 with mucosa in an octagon, and texts and a map beside it."""
    frame = np.full((440, 640, 3), border, np.uint8)
    cv2.fillConvexPoly(frame, OCTAGON, (level, level // 2, level // 2))
    cv2.putText(frame, "12:30 Name", (5, 30), cv2.FONT_HERSHEY_SIMPLEX, 0.6, (255, 255, 255), 1)
    cv2.rectangle(frame, (20, 330), (150, 430), (40, 180, 140), -1)
    return frame


def test_octagon_is_found_beside_texts_and_map() -> None:
    region = region_of(brightness(octagon()))
    truth = cv2.fillConvexPoly(np.zeros((440, 640), np.uint8), OCTAGON, (1,))
    wanted = cv2.resize(truth, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    overlap = (region.inside & wanted).sum() / (region.inside | wanted).sum()
    assert overlap > 0.97
    assert region.box == pytest.approx((140 / 640, 40 / 440, 421 / 640, 361 / 440), abs=0.02)


def test_lumen_inside_the_picture_belongs_to_it() -> None:
    frame = octagon()
    cv2.circle(frame, (400, 250), 80, (5, 5, 5), -1)
    assert region_overlap(region_of(brightness(frame)), region_of(brightness(octagon()))) > 0.99


@pytest.mark.parametrize("frame", [np.zeros((44, 64, 3), np.uint8),
                                   np.full((44, 64, 3), 120, np.uint8)])  # fmt: skip
def test_black_or_full_frame_has_no_border(frame: Frame) -> None:
    assert region_of(brightness(frame)).is_whole


def test_region_is_used_after_several_frames_and_does_not_flicker() -> None:
    finder = RegionFinder()
    regions = [finder.update(octagon()) for _ in range(MIN_FRAMES)]
    assert all(region.is_whole for region in regions[:-1])
    assert not regions[-1].is_whole
    dark = octagon()
    dark[:, 350:] //= 8  # the light does not reach the right half
    for frame in [dark] * WINDOW + [octagon()] * WINDOW:
        finder.update(frame)
    assert finder.changes == 1
    assert region_overlap(finder.region, regions[-1]) > 0.99


def test_region_follows_a_source_that_fills_the_frame() -> None:
    finder = RegionFinder()
    for _ in range(10):
        finder.update(octagon())
    assert not finder.region.is_whole
    for _ in range(10):
        finder.update(np.full((440, 640, 3), 130, np.uint8))
    assert finder.region.is_whole


def test_demo_clip_has_its_octagon_beside_the_map() -> None:
    finder = RegionFinder()
    for frame in islice(clip_frames(CLIP), 60):
        finder.update(frame)
    left, top, width, height = finder.region.box
    assert (left, top) == pytest.approx((0.22, 0.0), abs=0.02)
    assert (left + width, height) == pytest.approx((0.955, 1.0), abs=0.02)
    assert not finder.region.inside[5, :25].any()  # the corner is cut
    assert not finder.region.inside[30, :25].any()  # the time of day


def test_nothing_is_left_outside() -> None:
    region = region_of(brightness(octagon()))
    found = cut(np.full((256, 256), 0.9, np.float32), region)
    share = (found > 0).mean()
    assert share == pytest.approx(region.inside.mean(), abs=0.01)
    probabilities = np.full((8, 8), 0.9, np.float32)
    assert cut(probabilities, whole_frame()) is probabilities


def test_settings_are_parsed() -> None:
    assert parse_region("auto") is None
    whole = parse_region("full")
    assert whole is not None
    assert whole.is_whole
    region = parse_region("0.25,0,0.5,1")
    assert region is not None
    assert region.box == (0.25, 0.0, 0.5, 1.0)
    assert region.inside[:, 32:96].all()
    assert region.inside.mean() == 0.5
    for text in ("", "0.5,0,0.6,1", "0,0,0,1", "a,b,c,d", "0,0,1", "-0.1,0,0.5,1"):
        with pytest.raises(UserError, match="expected auto, full, or X,Y,WIDTH,HEIGHT"):
            parse_region(text)
