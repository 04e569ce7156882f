"""Live sources and outputs on real GStreamer: RTSP in and out, and what never comes."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from deepstream.gstreamer import GLib, Gst, gi
from deepstream.output import Output, parse_output
from deepstream.run import RunSettings, run
from deepstream.source import open_clip
from tests.conftest import one_line
from xpnet.errors import UserError

gi.require_version("GstRtspServer", "1.0")
from gi.repository import GstRtspServer  # noqa: E402

pytestmark = pytest.mark.integration

IN_PROCESS = {"backend": "onnxruntime", "height": 202, "width": 360}


def free_tcp_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def camera(short_clip: Path) -> Iterator[str]:
    """The short clip as an RTSP camera on loopback; its address."""
    server = GstRtspServer.RTSPServer.new()
    server.set_address("127.0.0.1")
    port = free_tcp_port()
    server.set_service(str(port))
    factory = GstRtspServer.RTSPMediaFactory.new()
    factory.set_launch(
        f"( filesrc location={short_clip} ! qtdemux ! h264parse ! rtph264pay name=pay0 )"
    )
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
    summary = run(RunSettings(camera, output, mode, **IN_PROCESS))
    assert summary["ending"] == "complete", summary
    # A live source that is ahead of inference loses frames.
    assert 5 < summary["frames"] <= 40
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
    clip = short_clip.parent / "long.mp4"
    from tests.conftest import ffmpeg

    ffmpeg("-stream_loop", "5", "-i", str(short_clip), "-c", "copy", "-an", str(clip))
    summary = run(RunSettings(clip, address, "latest", backend="onnxruntime"))
    viewer.join()
    assert summary["frames"] == 240
    assert seen == [(404, 720)]


def test_a_camera_that_is_not_there_is_one_line(xpnet, tmp_path: Path) -> None:
    address = f"rtsp://me:secret@127.0.0.1:{free_tcp_port()}/scope"
    result = xpnet("run", address, "--output", tmp_path / "o.mp4", "--backend", "onnxruntime")
    line = one_line(result)
    assert "no frame could be decoded" in line
    assert "rtsp://127.0.0.1" in line
    assert "secret" not in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_camera_that_never_delivers_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes the connection, and says nothing."""
    monkeypatch.setattr("deepstream.player.STALL_S", 2.0)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        address = f"rtsp://127.0.0.1:{mute.getsockname()[1]}/scope"
        with pytest.raises(UserError, match=r"/scope: no frame for 2 s after 0 frames: given up"):
            run(RunSettings(address, tmp_path / "o.mp4", **IN_PROCESS))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("/dev/video99", "no such device: expected one of /dev/video*"),
        ("decklink:first", "expected decklink: and the number of the card, from 0"),
    ],
)
def test_devices_that_are_not_there(source: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        run(RunSettings(source, tmp_path / "o.mp4", **IN_PROCESS))
    assert message in str(caught.value)


def test_outputs() -> None:
    assert parse_output("screen").kind == "screen"
    expected = Output("rtsp", "rtsp://0.0.0.0:8554/a/b", None, "0.0.0.0", 8554, "/a/b")
    assert parse_output("rtsp://0.0.0.0:8554/a/b") == expected
    for wrong in ("rtsp://host", "rtsp://host:8554", "rtsp://me:pw@host:1/a", "rtsp:a"):
        with pytest.raises(UserError, match="expected rtsp://HOST:PORT/NAME"):
            parse_output(wrong)


def test_an_rtsp_port_that_is_taken(short_clip: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=f"127.0.0.1:{port} cannot be listened on"):
            run(RunSettings(short_clip, f"rtsp://127.0.0.1:{port}/x", backend="onnxruntime"))


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_polyps_as_json_lines(frame_folder: Path, tmp_path: Path) -> None:
    told: list[Any] = []
    settings = RunSettings(
        frame_folder, tmp_path / "o.mp4", backend="onnxruntime", fps=10,
        polyps=tmp_path / "polyps.jsonl",
    )  # fmt: skip
    summary = run(settings, on_polyps=lambda *arguments: told.append(arguments))
    lines = lines_of(tmp_path / "polyps.jsonl")
    assert [line["frame"] for line in lines] == list(range(8))
    assert [line["time"] for line in lines] == pytest.approx(np.arange(8) / 10)
    assert [[p.as_dict() for p in polyps] for _, _, polyps in told] == [
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


def test_polyps_are_posted_to_the_bus(
    short_clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from deepstream.graph import Graph

    posted: list[Any] = []
    build = Graph.__init__

    def build_and_listen(self: Graph, *args: Any, **kwargs: Any) -> None:
        build(self, *args, **kwargs)
        bus = self.pipeline.get_bus()
        bus.enable_sync_message_emission()
        bus.connect("sync-message::element", lambda _, m: posted.append(m.get_structure().copy()))

    monkeypatch.setattr(Graph, "__init__", build_and_listen)
    settings = RunSettings(
        short_clip, tmp_path / "o.mp4", backend="onnxruntime", polyps=tmp_path / "p.jsonl"
    )
    run(settings)
    ours = [s for s in posted if s.get_name() == "xpnet-polyps"]
    assert len(ours) == 40
    lines = lines_of(tmp_path / "p.jsonl")
    for structure, line in zip(ours, lines, strict=True):
        assert structure.get_uint64("timestamp")[1] == round(line["time"] * 1e9)
        assert json.loads(structure.get_string("polyps")) == line["polyps"]
    assert any(p["id"] for line in lines for p in line["polyps"])


def test_nothing_of_the_polyps_is_written_unless_asked(frame_folder: Path, tmp_path: Path) -> None:
    run(RunSettings(frame_folder, tmp_path / "o.mp4", backend="onnxruntime"))
    assert [p.name for p in tmp_path.iterdir()] == ["o.mp4"]
