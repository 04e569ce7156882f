"""`--output screen`: a real window on a real X server, with real keys."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from deepstream.gstreamer import Gst
from tests.conftest import one_line, video_frames
from tests.integration.signs import has_notice
from xpnet.bench.live_run import LiveRun, live_run
from xpnet.serving.cpu_runtimes import best_runtime

PROGRAMS = ("Xvfb", "xdotool")
pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(
        any(shutil.which(name) is None for name in PROGRAMS),
        reason="needs the packages xvfb and xdotool",
    ),
]

WAIT_S = 30
SCREEN = (720, 1280)
"""Height and width of the X server's screen."""


@pytest.fixture
def display() -> Iterator[str]:
    """The name of an X server of its own, without a window manager."""
    reading, writing = os.pipe()
    height, width = SCREEN
    server = subprocess.Popen(
        ["Xvfb", "-displayfd", str(writing), "-screen", "0", f"{width}x{height}x24",
         "-nolisten", "tcp", "-noreset"],
        pass_fds=(writing,), stderr=subprocess.DEVNULL,
    )  # fmt: skip
    os.close(writing)
    with os.fdopen(reading) as pipe:
        number = pipe.readline().strip()
    assert number, "Xvfb did not start"
    yield f":{number}"
    server.terminate()
    server.wait(WAIT_S)


@pytest.fixture
def run(display: str, short_clip: Path) -> Iterator[LiveRun]:
    options = ("--output", "screen", "--backend", best_runtime(), "--max-mask-age", "2000")
    with live_run(f"live:{short_clip}", options, environ=on_screen(display)) as started:
        yield started


def on_screen(display: str) -> dict[str, str]:
    return {"DISPLAY": display, "WAYLAND_DISPLAY": "", "XDG_SESSION_TYPE": "x11"}


def screenshot(display: str) -> np.ndarray:
    """Return what the screen shows, in BGR."""
    pipeline = Gst.parse_launch(
        f"ximagesrc display-name={display} use-damage=false show-pointer=false num-buffers=1 ! "
        "videoconvert ! video/x-raw,format=BGR ! appsink name=sink sync=false"
    )
    pipeline.set_state(Gst.State.PLAYING)
    sample = pipeline.get_by_name("sink").emit("try-pull-sample", 10 * Gst.SECOND)
    pipeline.set_state(Gst.State.NULL)
    assert sample is not None
    shape = sample.get_caps().get_structure(0)
    height, width = shape.get_int("height")[1], shape.get_int("width")[1]
    buffer = sample.get_buffer()
    data = np.frombuffer(buffer.extract_dup(0, buffer.get_size()), np.uint8)
    return data.reshape(height, -1)[:, : 3 * width].reshape(height, width, 3)


def press(display: str, key: str) -> None:
    xdotool(display, "mousemove", "300", "200", "key", key)


class ClientMessage(ctypes.Structure):
    """XClientMessageEvent of Xlib."""

    _fields_ = (
        ("type", ctypes.c_int), ("serial", ctypes.c_ulong), ("send_event", ctypes.c_int),
        ("display", ctypes.c_void_p), ("window", ctypes.c_ulong),
        ("message_type", ctypes.c_ulong), ("format", ctypes.c_int), ("data", ctypes.c_long * 5),
        ("rest_of_union", ctypes.c_long * 12),
    )  # fmt: skip


def xdotool(display: str, *arguments: str) -> str:
    done = subprocess.run(
        ["xdotool", *arguments], capture_output=True, text=True,
        env={**os.environ, "DISPLAY": display}, check=True, timeout=WAIT_S,
    )  # fmt: skip
    return done.stdout


def window_number(display: str) -> str:
    return xdotool(display, "search", "--onlyvisible", "--name", ".").split()[0]


def close_window(display: str) -> None:
    """Ask the window to close, as a window manager does when its cross is pressed."""
    window = int(window_number(display))
    x11 = ctypes.CDLL("libX11.so.6")
    x11.XOpenDisplay.restype = ctypes.c_void_p
    x11.XInternAtom.restype = ctypes.c_ulong
    opened = ctypes.c_void_p(x11.XOpenDisplay(display.encode()))
    protocols, delete = (
        x11.XInternAtom(opened, name, 0) for name in (b"WM_PROTOCOLS", b"WM_DELETE_WINDOW")
    )
    event = ClientMessage(33, window=window, message_type=protocols, format=32)
    event.data[0] = delete
    assert x11.XSendEvent(opened, ctypes.c_ulong(window), 0, ctypes.c_long(0), ctypes.byref(event))
    x11.XCloseDisplay(opened)


def close_window_and_wait(display: str, run: LiveRun) -> None:
    """Close the window, and wait until the run has ended by itself."""
    close_window(display)
    deadline = time.monotonic() + WAIT_S
    while not run.ended and time.monotonic() < deadline:
        time.sleep(0.05)
    assert run.ended, run.log()


def setting(run: LiveRun, name: str) -> object:
    return run.state()["settings"][name]


def difference(shown: np.ndarray, clip: Path) -> float:
    """Return by how many levels a picture differs from the frame of the clip that is nearest."""
    small = [cv2.resize(picture, (24, 16), interpolation=cv2.INTER_AREA).astype(int)
             for picture in (shown, *video_frames(clip))]  # fmt: skip
    return float(min(np.abs(small[0] - frame).mean() for frame in small[1:]))


def test_picture_is_scaled_to_a_window_that_is_made_smaller(
    run: LiveRun, display: str, short_clip: Path
) -> None:
    assert run.wait_until(lambda s: s["frames"] > 10, WAIT_S)
    assert difference(screenshot(display)[:202, :360], short_clip) > 15  # a part of the picture
    xdotool(display, "windowsize", window_number(display), "360", "202")
    deadline = time.monotonic() + WAIT_S
    found = 255.0
    while found > 10 and time.monotonic() < deadline:
        time.sleep(0.1)
        found = difference(screenshot(display)[:202, :360], short_clip)
    assert found < 10


def test_window_shows_the_picture_and_its_keys_change_the_masks(
    run: LiveRun, display: str, short_clip: Path
) -> None:
    assert run.wait_until(lambda s: s["assistant"] == "ready" and s["frames"] > 30, WAIT_S)
    # The window has the frame's size.
    assert difference(screenshot(display)[:404, :720], short_clip) < 10
    assert run.state()["output"] == "screen"

    press(display, "m")
    assert run.wait_until(lambda s: s["assistant"] == "off", WAIT_S)
    deadline = time.monotonic() + WAIT_S
    while not has_notice(screenshot(display)[:404, :720]) and time.monotonic() < deadline:
        pass
    assert has_notice(screenshot(display)[:404, :720])
    press(display, "m")
    assert run.wait_until(lambda s: s["assistant"] == "ready", WAIT_S)
    shape, opacity = setting(run, "shape"), setting(run, "opacity")
    press(display, "s")
    assert run.wait_until(lambda s: s["settings"]["shape"] != shape, WAIT_S)
    press(display, "minus")
    assert run.wait_until(lambda s: s["settings"]["opacity"] < opacity, WAIT_S)
    frames = run.state()["frames"]
    assert run.wait_until(lambda s: s["frames"] > frames + 25, WAIT_S)
    summary = run.stop()
    assert (summary["ending"], summary["probe_errors"]) == ("interrupted", 0)


def test_closed_window_completes_a_recording(
    display: str, short_clip: Path, tmp_path: Path
) -> None:
    options = ("--output", "screen", "--backend", best_runtime(), "--record", str(tmp_path),
               "--record-at-start", "--record-reserve", "0")  # fmt: skip
    with live_run(f"live:{short_clip}", options, environ=on_screen(display)) as run:
        assert run.wait_until(lambda s: s["frames"] > 60, WAIT_S)
        close_window_and_wait(display, run)
        shown = run.stop()["frames"]
    (recording,) = [path for path in tmp_path.iterdir() if path.suffix == ".mkv"]
    # The first frames were shown before the recording began.
    assert shown - 30 < len(video_frames(recording)) <= shown


def test_closed_window_ends_the_run_like_ctrl_c(run: LiveRun, display: str) -> None:
    assert run.wait_until(lambda s: s["frames"] > 10, WAIT_S)
    close_window_and_wait(display, run)
    summary = run.stop()  # returns what the run has written
    assert run.exit_code == 0, run.log()
    assert (summary["ending"], summary["probe_errors"]) == ("interrupted", 0)
    assert summary["reason"] == "the window was closed"


def test_screen_that_does_not_exist_gives_one_line(xpnet, short_clip: Path) -> None:
    result = xpnet("run", short_clip, "--output", "screen", "--backend", best_runtime(),
                   env={**os.environ, **on_screen(":997")})  # fmt: skip
    assert ":997" in one_line(result)
