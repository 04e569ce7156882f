"""The shortcuts of the overlay give the same result as the plain way."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from xpnet.overlay import (
    CONTOUR_TOLERANCE,
    OverlayStyle,
    Plane,
    _contours,
    bounding_box,
    draw_on_planes,
    outline_of,
    subsampled,
)


def random_mask(height: int, width: int, seed: int) -> np.ndarray:
    """Return some smooth areas, as those of a network; seed 0 is empty."""
    noise = np.random.default_rng(seed).random((12, 16)).astype(np.float32)
    smooth = cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)
    return (smooth > (0.8 if seed else 9)).astype(np.uint8)


@pytest.mark.parametrize("size", [(40, 64), (41, 67), (404, 720)])
@pytest.mark.parametrize("seed", range(4))
def test_bounding_box_is_that_of_opencv(size: tuple[int, int], seed: int) -> None:
    mask = random_mask(*size, seed)
    assert bounding_box(mask) == tuple(cv2.boundingRect(mask))
    assert bounding_box(mask[:, ::2]) == tuple(cv2.boundingRect(np.ascontiguousarray(mask[:, ::2])))
    single = np.zeros(size, np.uint8)
    single[-1, 3] = 1
    assert bounding_box(single) == (3, size[0] - 1, 1, 1)


@pytest.mark.parametrize("step", [(1, 1), (2, 1), (2, 2)])
@pytest.mark.parametrize("size", [(40, 64), (41, 67)])
def test_subsampled_mask_has_every_second_pixel(
    step: tuple[int, int], size: tuple[int, int]
) -> None:
    mask = random_mask(*size, 2)
    np.testing.assert_array_equal(subsampled(mask, step), mask[:: step[1], :: step[0]])


@pytest.mark.parametrize("shape", ["fill", "contour", "corners"])
@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_two_planes_drawn_together_are_as_each_drawn_alone(shape: str, kind: type) -> None:
    mask, style = random_mask(405, 721, 1), OverlayStyle(shape=shape)
    random = np.random.default_rng(5)
    luma = random.integers(0, 256, (405, 721)).astype(kind)
    chroma = [random.integers(0, 256, (203, 361)).astype(kind) for _ in range(2)]
    both = [Plane(c.copy(), (n,)) for c, n in zip(chroma, (160, 20), strict=True)]
    together = [Plane(luma.copy(), (180,)), *both]
    draw_on_planes(together, mask, style)
    for number, value in ((1, 160), (2, 20)):
        pair = [Plane(luma.copy(), (180,)), Plane(chroma[number - 1].copy(), (value,))]
        draw_on_planes(pair, mask, style)
        np.testing.assert_array_equal(together[number].pixels, pair[1].pixels)
        np.testing.assert_array_equal(together[0].pixels, pair[0].pixels)
        assert (pair[1].pixels != chroma[number - 1]).any()


@pytest.mark.parametrize("shape", ["fill", "contour", "corners"])
def test_known_outline_draws_the_same(shape: str) -> None:
    mask, style = random_mask(404, 720, 3), OverlayStyle(shape=shape)
    alone, known, other = (np.full((404, 720), 90, np.uint8) for _ in range(3))
    draw_on_planes([Plane(alone, (180,))], mask, style)
    draw_on_planes([Plane(known, (180,))], mask, style, outline_of(mask, shape))
    draw_on_planes([Plane(other, (180,))], mask, style, outline_of(mask, "corners"))
    np.testing.assert_array_equal(known, alone)
    np.testing.assert_array_equal(other, alone)  # made for another style, so it is made again
    assert (alone != 90).any()
    assert outline_of(np.zeros((40, 64), np.uint8), shape) is None


def test_drawn_contour_is_within_its_tolerance_of_the_mask() -> None:
    mask, thickness = random_mask(1080, 1920, 1), 4
    exact, _ = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_TC89_KCOS)
    lines = _contours(mask, thickness)
    assert len(lines) == len(exact)
    assert sum(map(len, lines)) < 0.8 * sum(map(len, exact))
    for line, full in zip(lines, exact, strict=True):
        for point in full[:, 0].astype(float):
            if len(line) > 2:
                distance = abs(cv2.pointPolygonTest(line, tuple(point), measureDist=True))
                assert distance <= thickness * CONTOUR_TOLERANCE + 1e-6
