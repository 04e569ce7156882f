"""The picture outside the masks is the picture that came in: colour bars through the whole graph.

Inference is replaced by a fixed map, so that every frame has a mask at a known place, and x264
encodes without loss, so that the output file can be compared with the input sample by sample.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import cv2
import numpy as np
import pytest

from deepstream.control.appearance import Appearance
from deepstream.control.controls import Controls
from deepstream.graph import element_tables
from deepstream.graph.description import ElementSpec
from deepstream.graph.pipeline import describe_graph
from deepstream.io.output import parse_output
from deepstream.io.source import open_clip
from deepstream.player import Ending, play
from deepstream.probes.triton_probe import MODES
from tests.conftest import ffmpeg
from tests.integration.inference_doubles import FixedMap
from xpnet.card import Card
from xpnet.inference import IN_FLIGHT

pytestmark = pytest.mark.integration

FRAMES = 5
LOSSLESS = ElementSpec(
    "x264enc",
    "encoder",
    {"pass": "quant", "quantizer": "0", "speed-preset": "ultrafast",
     "insert-vui": "{write_tags}", "option-string": "{x264_options}"},
)  # fmt: skip


def bars(path: Path, pixels: str, size: str, *options: str) -> None:
    """Write colour bars as lossless H.264."""
    ffmpeg("-f", "lavfi", "-i", f"smptehdbars=size={size}:rate=25", "-frames:v", str(FRAMES),
           "-pix_fmt", pixels, *options, "-c:v", "libx264", "-qp", "0", "-preset", "ultrafast",
           str(path))  # fmt: skip


def decoded(path: Path, pixels: str, height: int, width: int) -> list[list[np.ndarray]]:
    """Return the planes of every frame, as ffmpeg decodes them without any conversion."""
    raw = subprocess.run(
        ["ffmpeg", "-v", "error", "-i", str(path), "-f", "rawvideo", "-"],
        capture_output=True, check=True,
    ).stdout  # fmt: skip
    kind = np.dtype(np.uint16 if "10" in pixels else np.uint8)
    down, across = {"420": (2, 2), "422": (1, 2), "444": (1, 1)}[pixels[pixels.index("4") :][:3]]
    shapes = [(height, width), (height // down, width // across), (height // down, width // across)]
    samples = np.frombuffer(raw, kind)
    frames, at = [], 0
    while at < samples.size:
        planes = []
        for shape in shapes:
            planes.append(samples[at : at + shape[0] * shape[1]].reshape(shape))
            at += planes[-1].size
        frames.append(planes)
    return frames


def tags(path: Path) -> dict[str, str]:
    """Return what a file states about its colours, in the stream and in the container."""
    found = subprocess.run(
        ["ffprobe", "-v", "error", "-select_streams", "v", "-of", "json", "-show_entries",
         "stream=pix_fmt,color_range,color_space,color_transfer,color_primaries", str(path)],
        capture_output=True, check=True,
    ).stdout  # fmt: skip
    stream: dict[str, str] = json.loads(found)["streams"][0]
    return {k: v for k, v in stream.items() if v != "unknown"}


def run_graph(clip: Path, output: Path, card: Card) -> None:
    """Play a clip through the graph of plain GStreamer."""
    source, target = open_clip(clip, 0), parse_output(output)
    probes = MODES["every"](source.height, source.width, FixedMap(card), Controls(Appearance()))
    outcome = play(
        source, target, probes,
        lambda sink, _: describe_graph("gstreamer", source, target.kind, sink),
    )  # fmt: skip
    assert outcome.ending is Ending.COMPLETE
    assert (probes.statistics.probe_errors, probes.statistics.frames_with_polyp) == (0, FRAMES)


BT601 = ("-colorspace", "smpte170m", "-color_primaries", "smpte170m", "-color_trc", "smpte170m")
BT709 = ("-colorspace", "bt709", "-color_primaries", "bt709", "-color_trc", "bt709")
FULL = ("-vf", "scale=out_range=pc", "-color_range", "pc")
CLIPS = {
    "untagged": ("yuv420p", "1280x720"),
    "untagged, small": ("yuv420p", "320x240"),
    "untagged, in BT.601": ("yuv420p", "1280x720", "-vf", "scale=out_color_matrix=bt601"),
    "BT.601": ("yuv420p", "1280x720", *BT601, "-color_range", "tv"),
    "BT.709, small": ("yuv420p", "320x240", *BT709, "-color_range", "tv"),
    "full range": ("yuvj420p", "1280x720", *FULL, *BT709),
    "full range, no matrix": ("yuvj420p", "320x240", *FULL),
    "4:2:2": ("yuv422p", "320x240", *BT709),
    "4:4:4": ("yuv444p", "320x240"),
    "10 bits": ("yuv420p10le", "320x240", *BT709),
    "10 bits, untagged": ("yuv420p10le", "320x240"),
    "10 bits, 4:2:2": ("yuv422p10le", "320x240", *BT709),
    "10 bits, 4:4:4": ("yuv444p10le", "320x240", *BT601),
}


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
@pytest.mark.parametrize("clip", CLIPS)
def test_outside_the_masks_nothing_changes(
    clip: str, suffix: str, card: Card, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = element_tables.GSTREAMER_TABLE
    rows = (*element_tables.TO_ENCODER, LOSSLESS)
    monkeypatch.setitem(element_tables.TABLES, "gstreamer", {**table, "encoder.software": rows})
    pixels, size, *options = CLIPS[clip]
    width, height = map(int, size.split("x"))
    source, output = tmp_path / "in.mp4", tmp_path / f"out{suffix}"
    bars(source, pixels, size, *options)
    run_graph(source, output, card)
    assert tags(output) == tags(source)
    before, after = (decoded(path, pixels, height, width) for path in (source, output))
    assert len(before) == len(after) == FRAMES > IN_FLIGHT
    mark = np.zeros((height, width), np.uint8)
    radius = np.array([width, height]) // 5 + 12
    cv2.ellipse(mark, (width // 2, height // 2), tuple(map(int, radius)), 0, 0, 360, 255, -1)
    for old, new in zip(before, after, strict=True):
        for one, other in zip(old, new, strict=True):
            outside = cv2.resize(mark, one.shape[::-1], interpolation=cv2.INTER_AREA) == 0
            assert (one[outside] == other[outside]).all()
            assert outside.mean() > 0.5
        middle = height // 2, width // 2
        assert old[0][middle] != new[0][middle]  # the mask was drawn


def test_rgb_video_is_encoded_in_420_and_tagged(card: Card, tmp_path: Path) -> None:
    clip, output = tmp_path / "in.mkv", tmp_path / "o.mkv"
    ffmpeg("-f", "lavfi", "-i", "smptehdbars=size=1280x720:rate=25", "-frames:v", "5",
           "-pix_fmt", "bgr0", "-c:v", "ffv1", str(clip))  # fmt: skip
    run_graph(clip, output, card)
    assert (tags(output)["pix_fmt"], tags(output)["color_space"]) == ("yuv420p", "bt709")


def test_images_are_tagged(card: Card, frame_folder: Path, tmp_path: Path) -> None:
    """RGB is converted for the encoder, so the file must say with which matrix."""
    source, target = open_clip(frame_folder, 25), parse_output(tmp_path / "o.mp4")
    probes = MODES["every"](source.height, source.width, FixedMap(card), Controls(Appearance()))
    play(source, target, probes, lambda sink, _: describe_graph("gstreamer", source, "file", sink))
    found = tags(tmp_path / "o.mp4")
    assert (found["pix_fmt"], found["color_space"]) == ("yuv420p", "smpte170m")
