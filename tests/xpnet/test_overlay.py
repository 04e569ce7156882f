from __future__ import annotations

import cv2
import numpy as np
import pytest

from xpnet.errors import UserError
from xpnet.overlay import OverlayStyle, contour_thickness, draw_mask, parse_colour


@pytest.fixture
def mask() -> np.ndarray:
    mask = np.zeros((404, 720), np.uint8)
    cv2.circle(mask, (300, 200), 60, 1, -1)
    return mask


def test_nothing_outside_the_bounding_box_changes(
    frames: list[np.ndarray], mask: np.ndarray
) -> None:
    frame = frames[0].copy()
    draw_mask(frame, mask, OverlayStyle())
    margin = contour_thickness(404)
    outside = np.ones(mask.shape, bool)
    outside[140 - margin : 261 + margin, 240 - margin : 361 + margin] = False
    np.testing.assert_array_equal(frame[outside], frames[0][outside])
    assert (frame != frames[0]).any()


def test_fill_is_translucent_and_contour_opaque(mask: np.ndarray) -> None:
    frame = np.full((404, 720, 3), 100, np.uint8)
    draw_mask(frame, mask, OverlayStyle((200, 0, 0), opacity=0.5))
    np.testing.assert_allclose(frame[200, 300], (150, 50, 50), atol=1)
    assert tuple(frame[200, 360]) == (200, 0, 0)
    assert tuple(frame[200, 380]) == (100, 100, 100)


def test_opacity_zero_draws_the_contour_only(mask: np.ndarray) -> None:
    frame = np.full((404, 720, 3), 100, np.uint8)
    draw_mask(frame, mask, OverlayStyle(opacity=0))
    assert tuple(frame[200, 300]) == (100, 100, 100)
    assert tuple(frame[200, 360]) == (0, 229, 255)


def test_small_holes_have_no_contour_and_large_ones_have(mask: np.ndarray) -> None:
    frame = np.full((404, 720, 3), 100, np.uint8)
    whole, small, large = mask, mask.copy(), mask.copy()
    cv2.circle(small, (300, 200), 4, 0, -1)
    cv2.circle(large, (300, 200), 30, 0, -1)
    drawn = []
    for one in (whole, small, large):
        drawn.append(frame.copy())
        draw_mask(drawn[-1], one, OverlayStyle(opacity=0))
    np.testing.assert_array_equal(drawn[1], drawn[0])
    assert (drawn[2][200, 330] != 100).any()


def test_rgb_and_rgba_get_the_same_colours(frames: list[np.ndarray], mask: np.ndarray) -> None:
    rgb, rgba = frames[1].copy(), cv2.cvtColor(frames[1], cv2.COLOR_RGB2RGBA)
    draw_mask(rgb, mask, OverlayStyle())
    draw_mask(rgba, mask, OverlayStyle())
    np.testing.assert_array_equal(rgba[..., :3], rgb)
    assert (rgba[..., 3] == 255).all()


def test_mask_at_the_frames_edge_is_drawn() -> None:
    frame, mask = np.zeros((50, 50, 4), np.uint8), np.ones((50, 50), np.uint8)
    draw_mask(frame, mask, OverlayStyle(opacity=1))
    assert (frame[..., 2] == 255).all()


def test_empty_mask_changes_nothing(frames: list[np.ndarray]) -> None:
    frame = frames[0].copy()
    draw_mask(frame, np.zeros(frame.shape[:2], np.uint8), OverlayStyle())
    np.testing.assert_array_equal(frame, frames[0])


def test_mask_of_another_size_is_refused(frames: list[np.ndarray]) -> None:
    with pytest.raises(ValueError, match=r"mask of \(10, 10\): expected \(404, 720\)"):
        draw_mask(frames[0].copy(), np.zeros((10, 10), np.uint8), OverlayStyle())


def test_colours() -> None:
    assert parse_colour("#00e5ff") == parse_colour("00E5FF") == (0, 229, 255)
    for wrong in ("", "red", "00e5f", "00e5ffff"):
        with pytest.raises(UserError, match="expected RRGGBB"):
            parse_colour(wrong)


def test_opacity_out_of_range_is_refused() -> None:
    with pytest.raises(UserError, match=r"opacity 1.5: expected 0 to 1"):
        OverlayStyle(opacity=1.5)
