"""Outputs: which are refused, and which give a warning."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from deepstream.gstreamer import Gst
from deepstream.io.output import Output, check_output, parse_output
from deepstream.io.rtsp_server import BUFFER_BYTES, LAUNCH
from deepstream.platforms.gstreamer_platform import GStreamerSettings
from deepstream.run import RunSettings, run
from tests.conftest import CLIP, one_line
from xpnet.errors import UserError

pytestmark = pytest.mark.integration


def test_outputs() -> None:
    assert parse_output("screen").kind == "screen"
    drm = parse_output("drm")
    assert drm == Output("drm", "drm")
    check_output(drm, {})  # it needs no desktop
    expected = Output("rtsp", "rtsp://0.0.0.0:8554/a/b", None, "0.0.0.0", 8554, "/a/b")
    assert parse_output("rtsp://0.0.0.0:8554/a/b") == expected
    for wrong in ("rtsp://host", "rtsp://host:8554", "rtsp://me:pw@host:1/a", "rtsp:a"):
        with pytest.raises(UserError, match="expected rtsp://HOST:PORT/NAME"):
            parse_output(wrong)


def test_invalid_rtsp_port_is_refused() -> None:
    with pytest.raises(UserError, match="port 99999, expected 1 to 65535"):
        parse_output("rtsp://127.0.0.1:99999/x")


def test_open_rtsp_address_gives_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    check_output(parse_output("rtsp://127.0.0.1:8554/x"))
    assert caplog.records == []
    check_output(parse_output("rtsp://0.0.0.0:8554/x"))
    (record,) = caplog.records
    assert record.getMessage().startswith("rtsp://0.0.0.0:8554/x: open to the network")


def test_screen_without_desktop_gives_one_line(xpnet) -> None:
    hidden = {k: v for k, v in os.environ.items() if k not in ("DISPLAY", "WAYLAND_DISPLAY")}
    result = xpnet("run", CLIP, "--output", "screen", "--backend", "onnxruntime", env=hidden)
    assert "--output screen: no desktop found" in one_line(result)
    check_output(parse_output("screen"), {"WAYLAND_DISPLAY": "wayland-0"})


def test_key_frame_fits_into_the_socket_buffer() -> None:
    bin_ = Gst.parse_bin_from_description(LAUNCH.format(port=5000).strip("( )"), False)
    (socket_,) = [e for e in bin_.children if e.get_factory().get_name() == "udpsrc"]
    assert socket_.get_property("buffer-size") == BUFFER_BYTES
    assert socket_.get_property("port") == 5000


def test_rtsp_port_in_use_is_reported(short_clip: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=f"127.0.0.1:{port} cannot be listened on"):
            run(
                RunSettings(
                    short_clip,
                    f"rtsp://127.0.0.1:{port}/x",
                    platform=GStreamerSettings("onnxruntime"),
                )
            )
