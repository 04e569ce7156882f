"""Clips whose frames have unusual times: every frame is in the output, at an increasing time."""

from __future__ import annotations

import itertools
import json
import random
from pathlib import Path

import cv2
import pytest

from deepstream.platforms.gstreamer_platform import GStreamerSettings
from deepstream.run import RunSettings, run
from tests.conftest import CLIP, ffmpeg

pytestmark = pytest.mark.integration

IN_PROCESS = GStreamerSettings("onnxruntime")


def segmented(clip: Path) -> tuple[dict[str, object], list[float], int]:
    """Segment a clip; return its summary, the time of each frame, and the number of frames read."""
    output, polyps = clip.with_name("o.mp4"), clip.with_name("o.jsonl")
    summary = run(RunSettings(clip, output, polyps=polyps, platform=IN_PROCESS))
    times = [json.loads(line)["time"] for line in polyps.read_text().splitlines()]
    reader = cv2.VideoCapture(str(output))
    frames = sum(1 for _ in itertools.takewhile(lambda _: reader.read()[0], itertools.count()))
    return summary, times, frames


def increases(times: list[float]) -> bool:
    return all(one < other for one, other in itertools.pairwise(times))


def test_joined_recordings_keep_every_frame(tmp_path: Path, caplog) -> None:
    """At the joint several frames have the same time; the muxer failed, and there was no output."""
    part, clip = tmp_path / "part.mpg", tmp_path / "joined.mpg"
    ffmpeg("-i", str(CLIP), "-t", "0.8", "-an", "-c:v", "mpeg2video", "-f", "mpeg", str(part))
    clip.write_bytes(part.read_bytes() * 2)
    summary, times, frames = segmented(clip)
    assert (summary["ending"], summary["frames"], frames) == ("complete", 40, 40)
    assert increases(times)
    assert "timestamps of the file do not increase: repaired" in caplog.text


def test_damage_in_the_middle_keeps_the_frames_before_and_behind_it(tmp_path: Path) -> None:
    clip = tmp_path / "damaged.ts"
    ffmpeg("-i", str(CLIP), "-t", "2", "-an", "-c:v", "libx264", "-g", "10", str(clip))
    content, bits = bytearray(clip.read_bytes()), random.Random(1)
    half = len(content) // 2
    content[half : half + 20_000] = bits.randbytes(20_000)
    clip.write_bytes(content)
    summary, times, frames = segmented(clip)
    assert summary["ending"] == "complete"
    assert 40 <= summary["frames"] == frames < 50
    assert increases(times)
    assert times[-1] - times[0] == pytest.approx(1.96, abs=0.1)


def test_last_frames_of_a_variable_frame_rate_are_in_the_output(tmp_path: Path) -> None:
    """The track of the output ended before its last frames, and players left them out."""
    clip = tmp_path / "variable.mp4"
    ffmpeg("-i", str(CLIP), "-t", "2.4", "-an", "-vf", "select='not(mod(n,3))+lt(n,20)'",
           "-fps_mode", "vfr", "-c:v", "libx264", str(clip))  # fmt: skip
    summary, times, frames = segmented(clip)
    assert summary["frames"] == frames == len(times) > 30
    assert increases(times)
    distances = {round(other - one, 2) for one, other in itertools.pairwise(times)}
    assert {0.04, 0.12} <= distances
