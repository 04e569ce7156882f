"""Fixtures of several tests: real frames, and the command line as a user runs it."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from xpnet.errors import UserError
from xpnet.host.gpu import describe_gpu
from xpnet.host.nvidia_software import detect_nvidia_software

if "PYTEST_XDIST_WORKER" in os.environ:
    # PyTorch reads it when it is imported. Two test processes whose threads wait for each other's
    # cores take many times as long.
    os.environ.setdefault("OMP_NUM_THREADS", "1")

ROOT = Path(__file__).parents[1]
CLIP = ROOT / "docs" / "demo" / "colonoscopy.mp4"
FRAMES_OF_CLIP = 338


def pytest_configure() -> None:
    """Reset SIGINT: a shell's background job ignores it, and its child processes would, too."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run unit tests first: they are fast and more specific."""
    items.sort(key=lambda item: item.get_closest_marker("integration") is not None)


@pytest.fixture(scope="session")
def frames() -> list[np.ndarray]:
    """Eight real frames, H x W x 3 uint8 RGB, one from each part of the demo clip."""
    clip = cv2.VideoCapture(str(CLIP))
    wanted = set(range(10, FRAMES_OF_CLIP, 42))
    read = [clip.read()[1] for _ in range(FRAMES_OF_CLIP)]
    clip.release()
    return [cv2.cvtColor(read[i], cv2.COLOR_BGR2RGB) for i in sorted(wanted)]


@pytest.fixture(scope="session")
def frame_folder(frames: list[np.ndarray], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The frames as a folder of PNG files, which are lossless, so that masks can be compared."""
    folder = tmp_path_factory.mktemp("frames")
    for number, frame in enumerate(frames):
        cv2.imwrite(str(folder / f"{number:03}.png"), cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
    return folder


@pytest.fixture(scope="session")
def short_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 frames of the demo clip, all with a polyp, and a tone."""
    path = tmp_path_factory.mktemp("clip") / "short.mp4"
    ffmpeg("-ss", "7.2", "-i", str(CLIP), "-f", "lavfi", "-i", "sine=440", "-t", "1.6",
           "-c:v", "libx264", "-c:a", "aac", "-pix_fmt", "yuv420p", str(path))  # fmt: skip
    return path


def ffmpeg(*arguments: str) -> None:
    """Run ffmpeg without output."""
    subprocess.run(["ffmpeg", "-y", "-loglevel", "error", *arguments], check=True)


def repeated(clip: Path, times: int) -> Path:
    """Return a clip repeated several times, without audio."""
    longer = clip.parent / f"{times}-times.mp4"
    ffmpeg("-stream_loop", str(times - 1), "-i", str(clip), "-c", "copy", "-an", str(longer))
    return longer


def video_frames(path: Path) -> list[np.ndarray]:
    """Return the frames of a clip, H x W x 3 uint8 BGR."""
    clip, frames = cv2.VideoCapture(str(path)), []
    while (read := clip.read())[0]:
        frames.append(read[1])
    return frames


def put_plan(folder: Path) -> Path:
    """Put a fake TensorRT plan with a card into a model's folder."""
    plan = folder / "1" / "model.plan"
    plan.parent.mkdir(exist_ok=True)
    plan.write_bytes(b"a plan")
    card = json.loads((folder / "card.json").read_text())
    try:
        machine = describe_gpu("jetson" if detect_nvidia_software().jetson else "rtx")
    except UserError:  # without a GPU
        machine = {}
    card["graph"] = {"sha256": hashlib.sha256(b"a plan").hexdigest(), **machine}
    plan.with_name("card.json").write_text(json.dumps(card))
    return plan


@pytest.fixture
def xpnet() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run `xpnet ARGUMENTS` in a process of its own."""

    def call(*arguments: object, **kwargs: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "xpnet.cli", *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, timeout=120, **kwargs)

    return call


def one_line(result: subprocess.CompletedProcess[str]) -> str:
    """Return the error line of a command that ended with exit code 2 and printed nothing else."""
    assert result.returncode == 2, result.stderr
    lines = [x for x in result.stderr.splitlines() if x.startswith("xpnet:")]
    assert len(lines) == 1, result.stderr
    assert "Traceback" not in result.stderr
    return lines[0]
