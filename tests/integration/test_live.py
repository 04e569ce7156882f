"""Live sources and outputs on real GStreamer: RTSP in and out, missing and silent sources."""

from __future__ import annotations

import itertools
import json
import logging
import math
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from deepstream.gstreamer import GLib, Gst, gi
from deepstream.io.source import open_clip
from deepstream.platforms.gstreamer_platform import GStreamerSettings
from deepstream.run import RunSettings, run
from tests.conftest import one_line, repeated, video_frames
from tests.integration.pausing import check_notices, pausing_source
from xpnet.bench.camera import Camera, free_tcp_port
from xpnet.errors import UserError
from xpnet.frames import Segmentation
from xpnet.host.interrupts import interrupted_when

gi.require_version("GstRtspServer", "1.0")
from gi.repository import GstRtspServer  # noqa: E402

pytestmark = pytest.mark.integration


@pytest.fixture(autouse=True)
def _usual_priority(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two tests run at a time: a server that leaves the cores to others may give no mask at all."""
    monkeypatch.setattr("xpnet.host.processes.NICENESS", 0)


LIMIT_S = 120.0
"""After this time a run is interrupted in any case, and the test fails."""
IN_PROCESS = {"platform": GStreamerSettings("onnxruntime"), "height": 202, "width": 360}


@pytest.fixture
def camera(short_clip: Path) -> Iterator[str]:
    """The address of the short clip, three times, as an RTSP camera on loopback."""
    clip = repeated(short_clip, 3)
    server = GstRtspServer.RTSPServer.new()
    server.set_address("127.0.0.1")
    port = free_tcp_port()
    server.set_service(str(port))
    factory = GstRtspServer.RTSPMediaFactory.new()
    factory.set_launch(f"( filesrc location={clip} ! qtdemux ! h264parse ! rtph264pay name=pay0 )")
    server.get_mount_points().add_factory("/scope", factory)
    context = GLib.MainContext.new()
    server.attach(context)
    loop = GLib.MainLoop.new(context, False)
    thread = threading.Thread(target=loop.run, daemon=True)
    thread.start()
    yield f"rtsp://127.0.0.1:{port}/scope"
    loop.quit()
    thread.join()


@pytest.mark.parametrize("mode", ["every", "latest"])
def test_an_rtsp_camera_is_recorded_with_masks(camera: str, tmp_path: Path, mode: str) -> None:
    output = tmp_path / "o.mp4"
    settings = RunSettings(camera, output, mode, max_mask_age_s=2.0, **IN_PROCESS)
    summary = run(settings)
    assert summary["ending"] == "complete", summary
    # A live source that is faster than inference loses frames.
    assert 5 < summary["frames"] <= 120
    assert summary["frames_with_polyp"] > 0
    made = open_clip(output, 0)
    assert (made.height, made.width) == (202, 360)
    assert cv2.VideoCapture(str(output)).get(cv2.CAP_PROP_FRAME_COUNT) == summary["frames"]


def test_masks_are_served_by_rtsp(short_clip: Path) -> None:
    address = f"rtsp://127.0.0.1:{free_tcp_port()}/xpnet"
    seen: list[tuple[int, int]] = []

    def watch() -> None:
        description = (
            f"rtspsrc location={address} latency=0 ! decodebin ! videoconvert ! "
            "video/x-raw,format=RGB ! appsink name=sink sync=false"
        )
        viewer = None
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline and not seen:
            viewer = Gst.parse_launch(description)
            viewer.set_state(Gst.State.PLAYING)
            sample = viewer.get_by_name("sink").emit("try-pull-sample", 2 * Gst.SECOND)
            if sample is not None:
                caps = sample.get_caps().get_structure(0)
                seen.append((caps.get_int("height")[1], caps.get_int("width")[1]))
            viewer.set_state(Gst.State.NULL)

    viewer = threading.Thread(target=watch)
    viewer.start()
    summary = run(
        RunSettings(
            repeated(short_clip, 6), address, "latest", platform=GStreamerSettings("onnxruntime")
        )
    )
    viewer.join()
    assert summary["frames"] == 240
    assert seen == [(404, 720)]


def test_missing_camera_gives_one_line(xpnet, tmp_path: Path) -> None:
    address = f"rtsp://me:secret@127.0.0.1:{free_tcp_port()}/scope"
    command = ("run", address, "--output", tmp_path / "o.mp4", "--backend", "onnxruntime")
    assert "secret" not in xpnet("--debug", *command).stderr
    result = xpnet(*command)
    line = one_line(result)
    assert "no frame could be decoded" in line
    assert "rtsp://127.0.0.1" in line
    assert "secret" not in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_camera_without_frames_gives_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server accepts the connection and sends nothing."""
    monkeypatch.setattr("deepstream.player.STALL_S", 2.0)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        address = f"rtsp://127.0.0.1:{mute.getsockname()[1]}/scope"
        with pytest.raises(UserError, match=r"/scope: no frame for 2 s after 0 frames: stopped"):
            run(RunSettings(address, tmp_path / "o.mp4", **IN_PROCESS))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("mode", ["every", "latest"])
def test_unplugged_scope_is_reconnected(
    short_clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture, mode: str,
) -> None:  # fmt: skip
    monkeypatch.setattr("deepstream.player.STALL_S", 4.0)
    monkeypatch.setattr("deepstream.player.RETRY_S", 1.0)
    camera = Camera(repeated(short_clip, 3))
    seen: list[int] = []

    def unplug_at_the_fifth(segmentation: Segmentation) -> None:
        seen.append(segmentation.timestamp_ns or 0)
        if len(seen) == 5:
            camera.unplug()
            threading.Timer(6.0, camera.plug).start()

    try:
        with caplog.at_level(logging.INFO, "xpnet.graph"):
            summary = run(
                RunSettings(
                    camera.address, tmp_path / "o.mkv", mode, max_mask_age_s=1.0, **IN_PROCESS
                ),
                unplug_at_the_fifth,
            )
    finally:
        camera.unplug()
    assert summary["ending"] == "complete", summary
    assert len(seen) > 8
    assert seen == sorted(seen)
    assert max(b - a for a, b in itertools.pairwise(seen)) > 5e9  # the stream's time continued
    messages = [record.getMessage() for record in caplog.records]
    assert sum("reconnecting" in line for line in messages) == 1, messages
    assert sum(line.endswith("/scope: reconnected") for line in messages) == 1, messages


def test_recording_is_complete_if_stopped_while_disconnected(
    short_clip: Path, tmp_path: Path
) -> None:
    camera = Camera(repeated(short_clip, 3))
    seen: list[Segmentation] = []
    unplugged_s = math.inf

    def unplug_at_the_fifth(segmentation: Segmentation) -> None:
        nonlocal unplugged_s
        seen.append(segmentation)
        if len(seen) == 5:
            camera.unplug()
            unplugged_s = time.monotonic()

    settings = RunSettings(camera.address, tmp_path / "o.mp4", **IN_PROCESS)
    with interrupted_when(lambda: time.monotonic() - unplugged_s > 3, LIMIT_S):
        summary = run(settings, unplug_at_the_fifth)
    assert summary["ending"] == "interrupted", summary
    made = cv2.VideoCapture(str(tmp_path / "o.mp4"))
    assert made.get(cv2.CAP_PROP_FRAME_COUNT) == summary["frames"] >= 5


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("/dev/video99", "no such device: expected one of /dev/video*"),
        ("rtsps://me:pw@host/x", "rtsps://host/x: expected a file, a folder, rtsp://..."),
        ("decklink:first", "expected decklink: and the number of the card, from 0"),
    ],
)
def test_missing_device_gives_one_line(source: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        run(RunSettings(source, tmp_path / "o.mp4", **IN_PROCESS))
    assert message in str(caught.value)


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_polyps_as_json_lines(frame_folder: Path, tmp_path: Path) -> None:
    reported: list[Any] = []
    settings = RunSettings(
        frame_folder, tmp_path / "o.mp4", platform=GStreamerSettings("onnxruntime"), fps=10,
        polyps=tmp_path / "polyps.jsonl",
    )  # fmt: skip
    summary = run(settings, on_polyps=lambda *arguments: reported.append(arguments))
    lines = lines_of(tmp_path / "polyps.jsonl")
    assert [line["frame"] for line in lines] == list(range(8))
    assert [line["time"] for line in lines] == pytest.approx(np.arange(8) / 10)
    assert [[p.as_dict() for p in polyps] for _, _, polyps in reported] == [
        line["polyps"] for line in lines
    ]
    with_polyp = [line for line in lines if line["polyps"]]
    assert 0 < len(with_polyp) <= summary["frames_with_polyp"]
    for polyp in with_polyp[0]["polyps"]:
        left, top, width, height = polyp["box"]
        assert 0 <= left < left + width <= 720
        assert 0 <= top < top + height <= 404
        assert 0.5 < polyp["probability"] <= 1
        assert 0.001 <= polyp["area"] <= width * height / (404 * 720)
        assert len(polyp["contour"]) > 3
    assert sorted(p.name for p in tmp_path.iterdir()) == ["o.mp4", "polyps.jsonl"]


def test_polyps_are_posted_to_the_bus(short_clip: Path, tmp_path: Path) -> None:
    posted: list[Any] = []

    def listen(message: Any) -> None:
        if message.type == Gst.MessageType.ELEMENT:
            posted.append(message.get_structure().copy())

    settings = RunSettings(
        short_clip,
        tmp_path / "o.mp4",
        platform=GStreamerSettings("onnxruntime"),
        polyps=tmp_path / "p.jsonl",
    )
    run(settings, on_message=listen)
    ours = [s for s in posted if s.get_name() == "xpnet-polyps"]
    assert len(ours) == 40
    lines = lines_of(tmp_path / "p.jsonl")
    start = ours[0].get_uint64("timestamp")[1]  # the buffers' own timestamps, which start anywhere
    for structure, line in zip(ours, lines, strict=True):
        assert structure.get_uint64("timestamp")[1] - start == round(line["time"] * 1e9)
        assert json.loads(structure.get_string("polyps")) == line["polyps"]
    assert any(p["id"] for line in lines for p in line["polyps"])
    posted.clear()
    run(replace(settings, polyps=None), on_message=listen)
    assert [s.get_name() for s in posted].count("xpnet-polyps") == 40


def test_exception_in_on_message_does_not_stop_the_video(
    frame_folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = RunSettings(
        frame_folder, tmp_path / "o.mp4", platform=GStreamerSettings("onnxruntime")
    )
    assert run(settings, on_message=lambda _: 1 / 0)["frames"] == 8  # type: ignore[arg-type]
    assert [r.getMessage()[:17] for r in caplog.records if r.levelname == "ERROR"] == [
        "on_message failed"
    ]


def test_polyps_are_written_only_on_request(frame_folder: Path, tmp_path: Path) -> None:
    run(RunSettings(frame_folder, tmp_path / "o.mp4", platform=GStreamerSettings("onnxruntime")))
    assert [p.name for p in tmp_path.iterdir()] == ["o.mp4"]


class Started:
    """Given to `run` as `on_mask`: when a run had its first mask."""

    def __init__(self) -> None:
        self.first_s = math.inf

    def __call__(self, _: Segmentation) -> None:
        self.first_s = min(self.first_s, time.monotonic())

    def ago(self, seconds: float) -> bool:
        return time.monotonic() - self.first_s > seconds


def test_file_is_played_as_if_live_again_and_again(short_clip: Path, tmp_path: Path) -> None:
    clip_ns = 1_600_000_000  # 40 frames
    seen: list[Segmentation] = []
    marked: set[int] = set()
    started = time.monotonic()

    def collect(segmentation: Segmentation) -> None:
        seen.append(segmentation)
        if segmentation.mask.any():
            marked.add(segmentation.timestamp_ns or 0)

    def repetitions() -> int:
        """Return how many have a mask; their stamps go on from one to the next."""
        return len({stamp // clip_ns for stamp in list(marked)})

    settings = RunSettings(
        f"live:{short_clip}", tmp_path / "o.mkv", "latest", max_mask_age_s=1.0, **IN_PROCESS
    )
    with interrupted_when(lambda: len(marked) > 20 and repetitions() >= 3, LIMIT_S):
        summary = run(settings, collect)
    lasted = time.monotonic() - started
    assert summary["ending"] == "interrupted"
    frames = video_frames(tmp_path / "o.mkv")
    assert len(frames) == summary["frames"] > 60
    stamps = [s.timestamp_ns or 0 for s in seen]
    assert stamps == sorted(stamps)
    assert stamps[-1] - stamps[0] < lasted * 1e9
    assert len(marked) > 20
    assert repetitions() >= 3
    with pytest.raises(UserError, match=r"frames of 720 x 0, expected 16 to 8192"):
        run(RunSettings(f"live:{short_clip}", tmp_path / "p.mkv", height=0))
    with pytest.raises(UserError, match=r"frames of 1920 x 0, expected 16 to 8192"):
        run(RunSettings("testpattern", tmp_path / "p.mkv", height=0))
    with pytest.raises(UserError, match=r"/nothing.mp4: no such file or folder"):
        run(RunSettings("live:/nothing.mp4", tmp_path / "p.mkv", **IN_PROCESS))


def test_pattern_is_a_source(tmp_path: Path) -> None:
    settings = RunSettings("testpattern", tmp_path / "o.mkv", "latest", **IN_PROCESS)
    started = Started()
    with interrupted_when(lambda: started.ago(2.0), LIMIT_S):
        summary = run(settings, started)
    frames = video_frames(tmp_path / "o.mkv")
    assert len(frames) == summary["frames"] > 25
    assert frames[0].shape == (202, 360, 3)


def test_slow_source_is_not_lost(tmp_path: Path) -> None:
    output = tmp_path / "o.mkv"
    settings = RunSettings(
        "testpattern", output, "latest", fps=1.0, max_mask_age_s=3.0, **IN_PROCESS
    )
    started = Started()
    with interrupted_when(lambda: started.ago(3.0), LIMIT_S):
        summary = run(settings, started)
    # Repetitions of a lost source would be twelve in each second.
    assert 2 <= summary["frames"] == len(video_frames(output)) < 10


@pytest.mark.parametrize(("mode", "fewest"), [("latest", 12), ("every", 5)])
def test_lost_source_shows_its_last_frame_with_a_notice(
    mode: str, fewest: int, short_clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = pausing_source(monkeypatch)
    output = tmp_path / "o.mkv"
    settings = RunSettings(
        f"live:{repeated(short_clip, 3)}", output, mode, max_mask_age_s=1.0, **IN_PROCESS
    )
    with interrupted_when(lambda: len(times) > 110, LIMIT_S):
        summary = run(settings)
    check_notices(output, times, fewest)
    assert summary["reconnects"] == 0  # the source did not fail, it only paused
