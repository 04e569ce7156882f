"""Audio on DeepStream: copied from file to file, with the replacements of conftest.py."""

from __future__ import annotations

import re
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from deepstream.io.source import open_clip
from deepstream.run import RunSettings, run
from tests.conftest import ffmpeg, video_frames
from tests.integration.nvds.conftest import fail_inference

pytestmark = pytest.mark.integration


def clip_with_audio(clip: Path, path: Path, codec: str, seconds: float) -> Path:
    """Return a clip with a tone."""
    ffmpeg("-i", str(clip), "-f", "lavfi", "-i", "sine=300", "-map", "0:v", "-map", "1:a",
           "-t", str(seconds), "-c:v", "copy", "-c:a", codec, str(path))  # fmt: skip
    return path


def audio_packets(path: Path) -> list[bytes]:
    """Return a hash of each stored audio packet of a file."""
    command = ["ffmpeg", "-loglevel", "error", "-i", str(path), "-map", "0:a", "-c", "copy",
             "-f", "framehash", "-"]  # fmt: skip
    lines = subprocess.run(command, capture_output=True, check=True).stdout.splitlines()
    return [line.rpartition(b",")[2] for line in lines if not line.startswith(b"#")]


@pytest.mark.parametrize(
    ("source", "codec", "output"),
    [("a.mp4", "aac", "o.mp4"), ("a.mp4", "aac", "o.mkv"), ("a.mkv", "libmp3lame", "o.mp4"),
     ("a.mkv", "pcm_s16le", "o.mkv")],
)  # fmt: skip
def test_audio_is_copied_as_it_is_stored(
    frames_with_result: list[int], settings: RunSettings, short_clip: Path, tmp_path: Path,
    source: str, codec: str, output: str,
) -> None:  # fmt: skip
    clip = clip_with_audio(short_clip, tmp_path / source, codec, 1.6)
    summary = run(replace(settings, input=clip, output=tmp_path / output))
    assert (summary["frames"], summary["ending"]) == (40, "complete"), summary["reason"]
    assert summary["audio"] is True
    assert len(video_frames(tmp_path / output)) == 40
    wanted, found = audio_packets(clip), audio_packets(tmp_path / output)
    # A packet before the start, from the encoder's delay, may be listed or not.
    assert [x for x in wanted if x in found] == [x for x in found if x in wanted]
    assert len(set(wanted) & set(found)) > 0.9 * max(len(wanted), len(found))


def test_audio_and_video_stay_in_sync(
    frames_with_result: list[int], settings: RunSettings, tmp_path: Path
) -> None:
    clip = tmp_path / "flash.mp4"
    ffmpeg("-f", "lavfi", "-i", "color=black:s=320x256:r=25,drawbox=color=white:t=fill:"
           "enable='between(t,0.6,0.8)'", "-f", "lavfi", "-i",
           "aevalsrc='if(between(t,0.6,0.8),sin(5529*t),0)':s=44100", "-t", "1.2", "-bf", "2",
           str(clip))  # fmt: skip
    run(replace(settings, input=clip, mode="latest"))
    assert audio_start_s(Path(settings.output)) == pytest.approx(audio_start_s(clip), abs=0.01)
    flashes = [number for number, frame in enumerate(video_frames(Path(settings.output)))
               if frame.mean() > 128]  # fmt: skip
    assert flashes[0] / 25 == pytest.approx(audio_start_s(clip), abs=0.04)


def audio_start_s(path: Path) -> float:
    """Return when the audio of a file starts."""
    command = ["ffmpeg", "-i", str(path), "-af", "silencedetect=n=-30dB:d=0.1", "-vn", "-f", "null",
             "-"]  # fmt: skip
    output = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    return float(re.findall(r"silence_end: ([\d.]+)", output)[0])


def test_audio_that_the_container_cannot_hold_is_left_out(
    frames_with_result: list[int], settings: RunSettings, short_clip: Path, tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    long = clip_with_audio(short_clip, tmp_path / "long.mkv", "pcm_s16le", 5)
    summary = run(replace(settings, input=long))
    assert (summary["frames"], summary["ending"]) == (40, "complete"), summary["reason"]
    assert summary["audio"] is False
    assert not open_clip(Path(settings.output), 0).has_audio
    assert f"audio (audio/x-raw) is left out: {settings.output} cannot hold it" in caplog.text


def test_stopped_run_also_ends_its_audio(
    frames_with_result: list[int], settings: RunSettings, short_clip: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    fail_inference(monkeypatch, after=20)
    clip = clip_with_audio(short_clip, tmp_path / "a.mp4", "aac", 1.6)
    summary = run(replace(settings, input=clip))
    assert (summary["ending"], summary["frames"]) == ("broken graph", 19)
    assert open_clip(Path(settings.output), 0).has_audio
