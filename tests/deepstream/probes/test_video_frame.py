"""Formats of frames: the colours that the network sees, and what drawing on planes changes."""

from __future__ import annotations

import subprocess
from typing import Any

import cv2
import numpy as np
import pytest

from deepstream.gstreamer import Gst
from deepstream.probes.video_frame import (
    YUV_FORMATS,
    FormatReader,
    VideoFrame,
    default_colorimetry,
    read_format,
)
from xpnet.overlay import OverlayStyle, draw_on_planes

pytestmark = pytest.mark.integration

FFMPEG_NAMES = {
    "I420": "yuv420p", "YV12": "yuv420p", "NV12": "yuv420p", "Y42B": "yuv422p", "Y444": "yuv444p",
    "I420_10LE": "yuv420p10le", "I422_10LE": "yuv422p10le", "Y444_10LE": "yuv444p10le",
}  # fmt: skip
COLOURS = {
    "bt709": ("bt709", "tv"),
    "bt601": ("smpte170m", "tv"),
    "1:3:5:1": ("bt709", "pc"),
    "1:4:0:0": ("smpte170m", "pc"),
}
"""Matrix and range in ffmpeg's words, by GStreamer's colorimetry."""
SIZE = (96, 128)


def caps(name: str, colorimetry: str = "", size: tuple[int, int] = SIZE) -> Any:
    tag = f",colorimetry={colorimetry}" if colorimetry else ""
    text = f"video/x-raw,format={name},width={size[1]},height={size[0]}{tag}"
    return Gst.Caps.from_string(text)


def frame_of(raw: bytes, name: str, colorimetry: str) -> VideoFrame:
    """Return a frame from planar samples without padding, as ffmpeg writes them."""
    if name == "NV12":
        luma = SIZE[0] * SIZE[1]
        chroma = np.frombuffer(raw, np.uint8, offset=luma).reshape(2, -1)
        raw = raw[:luma] + chroma.T.tobytes()
    form = read_format(caps(name, colorimetry))
    kind = np.uint8 if form.depth == 8 else np.uint16
    arrays, at = {}, 0
    for plane in sorted(form.planes, key=lambda p: p.components):
        shape = (plane.height, plane.width, len(plane.components))
        count = int(np.prod(shape))
        array = np.frombuffer(raw, kind, count, at).reshape(shape).copy()
        arrays[plane.components] = array[:, :, 0] if shape[2] == 1 else array
        at += count * np.dtype(kind).itemsize
    assert at == len(raw)
    return VideoFrame(form, [arrays[plane.components] for plane in form.planes])


def patches() -> np.ndarray:
    """Return 96 x 128 patches of 32 x 32 pixels with saturated, dark and skin colours."""
    colours = np.random.default_rng(3).integers(0, 256, (3, 4, 3), dtype=np.uint8)
    colours[0, 0], colours[0, 1], colours[1, 0] = (255, 0, 0), (10, 10, 10), (205, 92, 80)
    return np.repeat(np.repeat(colours, 32, 0), 32, 1)


def converted(rgb: np.ndarray, pixels: str, matrix: str, span: str) -> bytes:
    """Convert a picture with ffmpeg's zscale, in float precision."""
    height, width = rgb.shape[:2]
    made = subprocess.run(
        ["ffmpeg", "-v", "error", "-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}",
         "-i", "-", "-vf", f"zscale=m={matrix.replace('smpte', '')}:r={span}:min=gbr:rin=pc,"
         f"format={pixels}", "-f", "rawvideo", "-"],
        input=rgb.tobytes(), capture_output=True, check=False,
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    return made.stdout


@pytest.mark.parametrize("colorimetry", COLOURS)
@pytest.mark.parametrize("name", YUV_FORMATS)
def test_the_network_sees_the_right_colours(name: str, colorimetry: str) -> None:
    matrix, span = COLOURS[colorimetry]
    rgb = patches()
    raw = converted(rgb, FFMPEG_NAMES[name], matrix, span)
    found = frame_of(raw, name, colorimetry).scaled_rgb(*SIZE)
    inner = np.zeros(SIZE, bool)  # chroma of neighbouring patches mixes at their edges
    for top in range(0, SIZE[0], 32):
        for left in range(0, SIZE[1], 32):
            inner[top + 4 : top + 28, left + 4 : left + 28] = True
    difference = np.abs(found.astype(int) - rgb)[inner]
    assert difference.max() <= 3  # 8 bits of chroma with 224 steps
    assert difference.mean() < 0.8


def test_scaling_before_the_conversion_equals_scaling_after_it(frames: list[np.ndarray]) -> None:
    rgb = cv2.resize(frames[2], (SIZE[1], SIZE[0]), interpolation=cv2.INTER_AREA)
    frame = frame_of(converted(rgb, "yuv444p", "bt709", "tv"), "Y444", "bt709")
    wanted = cv2.resize(rgb, (64, 48), interpolation=cv2.INTER_AREA)
    assert np.abs(frame.scaled_rgb(48, 64).astype(int) - wanted).mean() < 0.8


@pytest.mark.parametrize("name", YUV_FORMATS)
def test_only_samples_below_the_mask_and_its_contour_change(name: str) -> None:
    raw = converted(patches(), FFMPEG_NAMES[name], "bt709", "tv")
    frame, before = frame_of(raw, name, "bt709"), frame_of(raw, name, "bt709")
    mask = np.zeros(SIZE, np.uint8)
    cv2.circle(mask, (60, 40), 20, 1, -1)
    style = OverlayStyle((0, 229, 255), 0.5)
    draw_on_planes(frame.planes(style.colour), mask, style)
    near = cv2.dilate(mask, np.ones((9, 9), np.uint8))
    for new, old in zip(frame.arrays, before.arrays, strict=True):
        size = (new.shape[1], new.shape[0])
        outside = cv2.resize(near, size, interpolation=cv2.INTER_AREA) == 0
        assert (new[outside] == old[outside]).all()
        assert (new[~outside] != old[~outside]).mean() > 0.3
    middle = frame.scaled_rgb(*SIZE)[40, 60].astype(int)
    wanted = (before.scaled_rgb(*SIZE)[40, 60].astype(int) + style.colour) / 2
    assert np.abs(middle - wanted).max() <= 4


def test_an_opaque_fill_has_the_colour_of_the_style() -> None:
    for name in YUV_FORMATS:
        raw = converted(patches(), FFMPEG_NAMES[name], "bt709", "tv")
        frame = frame_of(raw, name, "bt709")
        style = OverlayStyle((30, 180, 90), 1.0)
        draw_on_planes(frame.planes(style.colour), np.ones(SIZE, np.uint8), style)
        assert np.abs(frame.scaled_rgb(*SIZE).astype(int) - style.colour).max() <= 3, name


def test_a_colour_outside_the_limited_range_is_clipped() -> None:
    form = read_format(caps("I420", "bt709"))
    assert all(0 <= value <= 255 for value in form.components_of((0, 0, 255)))
    assert form.components_of((255, 255, 255)) == (235, 128, 128)
    assert read_format(caps("I420_10LE", "bt709")).components_of((0, 0, 0)) == (64, 512, 512)
    assert read_format(caps("Y444", "1:3:5:1")).components_of((0, 0, 0)) == (0, 128, 128)
    assert read_format(caps("RGBA")).components_of((1, 2, 3)) == (1, 2, 3, 255)


def test_without_a_tag_the_matrix_follows_the_size() -> None:
    assert (default_colorimetry(576), default_colorimetry(720)) == ("bt601", "bt709")
    for lines, tag in ((576, "bt601"), (720, "bt709")):
        untagged, tagged = caps("I420", size=(lines, 1280)), caps("I420", tag, (lines, 1280))
        np.testing.assert_array_equal(read_format(untagged).to_rgb, read_format(tagged).to_rgb)


def test_a_format_that_cannot_be_drawn_on_is_named() -> None:
    with pytest.raises(RuntimeError, match=r"frames of .*UYVY.*: expected video/x-raw of I420, "):
        read_format(caps("UYVY"))


def test_a_format_that_changes_is_read_again() -> None:
    pad = Gst.Pad.new("p", Gst.PadDirection.SRC)
    reader = FormatReader()
    with pytest.raises(RuntimeError, match="no format yet"):
        reader.read(pad)
    pad.set_active(True)
    pad.push_event(Gst.Event.new_stream_start("s"))
    for name in ("I420", "Y444", "I420"):
        pad.push_event(Gst.Event.new_caps(caps(name)))
        assert reader.read(pad).name == name
    assert reader.read(pad) is reader.read(pad)
