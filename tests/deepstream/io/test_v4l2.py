"""Formats that are requested from capture devices, and the frames that they deliver."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import pytest

from deepstream.graph.description import ElementSpec, assemble_description
from deepstream.graph.element_tables import GSTREAMER_TABLE, TABLES
from deepstream.graph.pipeline_builder import build
from deepstream.gstreamer import Gst
from deepstream.io.v4l2 import choose_format, format_among, rate_caps
from xpnet.errors import UserError

pytestmark = pytest.mark.integration

WEBCAM = (
    "video/x-raw,format=YUY2,width=640,height=480,framerate={30/1,15/1};"
    "video/x-raw,format=YUY2,width=1920,height=1080,framerate=5/1;"
    "image/jpeg,width=1920,height=1080,framerate={30/1,15/1}"
)
GRABBER = "video/x-raw,format=UYVY,width=[16,4096],height=[16,2160],framerate=[0/1,60/1]"


@pytest.mark.parametrize(
    ("offered", "size", "fps", "form"),
    [
        (WEBCAM, (480, 640), 0, "v4l2"),
        (WEBCAM, (1080, 1920), 0, "v4l2"),
        (WEBCAM, (1080, 1920), 30, "v4l2-jpeg"),
        (GRABBER, (1080, 1920), 59.94, "v4l2"),
    ],
)
def test_raw_frames_are_preferred_if_the_device_offers_them(
    offered: str, size: tuple[int, int], fps: float, form: str
) -> None:
    assert format_among("/dev/video0", Gst.Caps.from_string(offered), *size, fps) == form


def test_format_that_a_device_lacks_is_reported() -> None:
    offered = Gst.Caps.from_string(WEBCAM)
    with pytest.raises(UserError) as caught:
        format_among("/dev/video0", offered, 720, 1280, 60)
    assert str(caught.value).startswith(
        "/dev/video0: no frames of 1280 x 720 at 60 fps: it offers 640 x 480, 1920 x 1080 ("
    )


def test_device_that_cannot_be_opened_is_reported() -> None:
    with pytest.raises(UserError, match=r"/dev/null: cannot be opened: in use, or no capture"):
        choose_format("/dev/null", 1080, 1920, 0)


def test_rates() -> None:
    assert rate_caps(30) == ",framerate=30/1"
    assert rate_caps(59.94) == ",framerate=60000/1001"
    assert rate_caps(29.97) == ",framerate=30000/1001"
    assert rate_caps(12.5) == ",framerate=25/2"
    assert rate_caps(0) == ""


@pytest.mark.parametrize("platform", list(TABLES))
@pytest.mark.parametrize("kind", ["v4l2", "v4l2-jpeg", "decklink"])
def test_frames_are_deinterlaced_before_the_leaky_queue(platform: str, kind: str) -> None:
    names = [row.factory for row in TABLES[platform][f"source.{kind}"]]
    assert names.index("deinterlace") < names.index("queue")


def through(kind: str, caps: str, buffers: Sequence[bytes]) -> list[Any]:
    """Return the output of a source's elements, with an appsrc in place of the device."""
    rows = GSTREAMER_TABLE[f"source.{kind}"]
    table = {
        "source.test": (
            ElementSpec("appsrc", "source", {"format": "time", "caps": caps}),
            *rows[1:-1],
        ),
        "frame": (ElementSpec("appsink", "sink", {"sync": "false"}),),
        "inference.every": (),
        "overlay": (),
        "sink.screen": (),
    }
    values = {"height": "64", "width": "96", "rate": rate_caps(25)}
    pipeline = build(assemble_description("test", table, "test", "screen", "every", "", values))
    pipeline.set_state(Gst.State.PLAYING)
    source, sink = pipeline.get_by_name("source"), pipeline.get_by_name("sink")
    for number, content in enumerate(buffers):
        buffer = Gst.Buffer.new_wrapped(content)
        buffer.pts, buffer.duration = number * 40 * Gst.MSECOND, 40 * Gst.MSECOND
        source.emit("push-buffer", buffer)
    source.emit("end-of-stream")
    made = []
    while (sample := sink.emit("try-pull-sample", 5 * Gst.SECOND)) is not None:
        made.append(sample)
    pipeline.set_state(Gst.State.NULL)
    return made


def test_mjpeg_is_decoded_and_survives_a_broken_frame() -> None:
    whole = cv2.imencode(".jpg", np.full((64, 96, 3), 90, np.uint8))[1].tobytes()
    caps = "image/jpeg,width=96,height=64,framerate=25/1"
    made = through("v4l2-jpeg", caps, [whole, b"\xff\xd8torn", whole, whole])
    assert len(made) >= 3
    assert made[-1].get_caps().get_structure(0).get_name() == "video/x-raw"


@pytest.mark.parametrize("kind", ["v4l2", "decklink"])
def test_interlaced_frames_are_deinterlaced(kind: str) -> None:
    lines = np.zeros((64, 96), np.uint8)
    lines[::2] = 200  # two fields of a scope that moved in between
    frame = lines.tobytes() + bytes([128]) * (64 * 96 // 2)
    caps = ("video/x-raw,format=I420,width=96,height=64,framerate=25/1,interlace-mode=interleaved,"
            "field-order=top-field-first")  # fmt: skip
    made = through(kind, caps, [frame] * 6)
    structure = made[-1].get_caps().get_structure(0)
    assert structure.get_string("interlace-mode") in (None, "progressive")
    buffer = made[-3].get_buffer()
    rows = np.frombuffer(buffer.extract_dup(0, 64 * 96), np.uint8).reshape(64, 96)[8:56, 10]
    assert np.abs(np.diff(rows.astype(int))).max() < 60
