"""Bad input of `xpnet run`: one line and exit code 2, or a complete output."""

from __future__ import annotations

import os
import resource
import struct
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from deepstream.io.source import open_clip
from deepstream.platforms.gstreamer_platform import GStreamerSettings
from deepstream.run import RunSettings, run
from tests.conftest import CLIP, ffmpeg, one_line
from tests.training.conftest import make_discs
from xpnet.cli import main
from xpnet.overlay import OverlayStyle
from xpnet.paths import MODEL_REPOSITORY

pytestmark = pytest.mark.integration

IN_PROCESS = ("--backend", "onnxruntime")


def test_missing(xpnet, tmp_path: Path) -> None:
    line = one_line(xpnet("run", tmp_path / "no.mp4", "--output", tmp_path / "o.mp4"))
    assert line.endswith("no.mp4: no such file or folder")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("empty.mp4", b"", "the file is empty (0 bytes)"),
        ("text.mp4", b"hello\n" * 100, "not a video that GStreamer decodes"),
        ("zeros.mp4", bytes(5000), "not a video that GStreamer decodes"),
        ("head.mp4", CLIP.read_bytes()[:3000], "head.mp4: not a video that GStreamer decodes"),
    ],
    ids=["empty", "text", "zeros", "head"],
)
def test_not_a_video(xpnet, tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    result = xpnet("run", tmp_path / name, "--output", tmp_path / "o.mp4", *IN_PROCESS)
    assert message in one_line(result)
    assert [p.name for p in tmp_path.iterdir()] == [name]


def test_audio_only_and_still_images_are_refused(
    xpnet, tmp_path: Path, frames: list[np.ndarray]
) -> None:
    ffmpeg("-f", "lavfi", "-i", "sine", "-t", "1", str(tmp_path / "a.m4a"))
    cv2.imwrite(str(tmp_path / "a.png"), frames[0])
    for name, found in (("a.m4a", "no video"), ("a.png", "a still image")):
        result = xpnet("run", tmp_path / name, "--output", tmp_path / "o.mp4", *IN_PROCESS)
        assert f"contains {found}, expected a video (or a folder of images)" in one_line(result)


def test_empty_folder(xpnet, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    result = xpnet("run", tmp_path / "in", "--output", tmp_path / "o.mp4", *IN_PROCESS)
    assert "no images in this folder" in one_line(result)


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_truncated_video_keeps_its_frames(
    xpnet, short_clip: Path, tmp_path: Path, suffix: str
) -> None:
    whole, cut = tmp_path / f"whole.{suffix}", tmp_path / f"cut.{suffix}"
    ffmpeg("-stream_loop", "2", "-i", str(short_clip), "-c:v", "libx264", "-g", "10", "-an",
           "-movflags", "+faststart", str(whole))  # fmt: skip
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    output = tmp_path / "o.mp4"
    result = xpnet("run", cut, "--output", output, *IN_PROCESS)
    assert f"cut.{suffix}: broken after" in one_line(result)
    frames = open_clip(output, 0).frames
    assert 20 < frames < 119
    assert f"broken after {frames} frames" in one_line(result)


def test_odd_size(xpnet, tmp_path: Path) -> None:
    ffmpeg("-f", "lavfi", "-i", "testsrc=size=321x241:rate=10", "-t", "1", "-c:v", "libx264",
           "-pix_fmt", "yuv444p", str(tmp_path / "odd.mp4"))  # fmt: skip
    result = xpnet("run", tmp_path / "odd.mp4", "--output", tmp_path / "o.mp4", *IN_PROCESS)
    assert result.returncode == 0, result.stderr
    made = open_clip(tmp_path / "o.mp4", 0)
    assert (made.width, made.height, made.frames) == (320, 240, 10)


def test_change_of_frame_size_is_scaled(xpnet, tmp_path: Path) -> None:
    both = b""
    for number, size in enumerate(("320x240", "480x352")):
        part = tmp_path / f"{number}.ts"
        ffmpeg("-f", "lavfi", "-i", f"testsrc=size={size}:rate=25", "-t", "1", "-c:v", "libx264",
               "-pix_fmt", "yuv420p", "-output_ts_offset", str(number), str(part))  # fmt: skip
        both += part.read_bytes()
    (tmp_path / "change.ts").write_bytes(both)
    result = xpnet("run", tmp_path / "change.ts", "--output", tmp_path / "o.mp4", *IN_PROCESS)
    assert result.returncode == 0, result.stderr
    made = open_clip(tmp_path / "o.mp4", 0)
    assert (made.width, made.height) == (320, 240)
    assert made.seconds == pytest.approx(2, abs=0.1)
    assert "50 frames" in result.stdout


def test_folder_of_images_of_several_sizes_and_a_broken_one(
    xpnet, frame_folder: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for number, path in enumerate(sorted(frame_folder.iterdir())[:4]):
        picture = cv2.imread(str(path))
        cv2.imwrite(str(folder / f"{number}.png"), picture[: 300 + 30 * number])
    (folder / "2b.png").write_bytes(b"no picture")
    result = xpnet("run", folder, "--output", tmp_path / "o.mp4", "--fps", "5", *IN_PROCESS)
    assert result.returncode == 0, result.stderr
    assert "2b.png: cannot be decoded as an image: skipped" in result.stderr
    assert "4 frames" in result.stdout
    made = open_clip(tmp_path / "o.mp4", 0)
    assert (made.width, made.height) == (720, 300)


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ("none/o.mp4", "none does not exist"),
        ("o.avi", "expected a name that ends in .mp4 or .mkv"),
        (".", "expected a name that ends in"),
    ],
)
def test_output_that_cannot_be_written_is_refused(
    xpnet, tmp_path: Path, output: str, message: str
) -> None:
    result = xpnet("run", CLIP, "--output", tmp_path / output, *IN_PROCESS)
    assert message in one_line(result)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("option", ["--output", "--polyps", "--json"])
def test_output_that_is_the_input(xpnet, tmp_path: Path, option: str) -> None:
    clip = tmp_path / "clip.mp4"
    clip.write_bytes(CLIP.read_bytes())
    result = xpnet("run", clip, "--output", tmp_path / "o.mp4", option, clip, *IN_PROCESS)
    assert "clip.mp4: is the input itself" in one_line(result)
    assert clip.read_bytes() == CLIP.read_bytes()


@pytest.mark.parametrize(
    "command",
    [
        ("bench", "tegrastats", "IT", "--json", "IT"),
        ("export", "pack", "IT", "--output", "IT"),
        ("export", "IT", "--output", "IT"),
        ("export", "tune", "IT", "--output", "IT"),
        ("evaluate", "table", "IT", "--json", "IT"),
        ("evaluate", "curves", "IT", "--output", "IT"),
        ("evaluate", "--data", ".", "--file", "IT", "--json", "IT"),
        ("run", "graph", "IT", "--dot", "IT"),
        ("run", "graph", "IT", "--picture", "IT"),
    ],
)
def test_output_that_is_an_input_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: tuple[str, ...]
) -> None:
    it = tmp_path / "it.json"
    it.write_text("{}")
    assert main([str(it) if word == "IT" else word for word in command]) == 2
    assert "it.json: is the input itself" in capsys.readouterr().err
    assert it.read_text() == "{}"


@pytest.mark.parametrize(
    ("command", "file"),
    [
        (("train", "check-data", "DATA", "--json", "IT"), "index.csv"),
        (("evaluate", "--data", "DATA", "--json", "IT"), "index.csv"),
        (("evaluate", "panel", "--data", "DATA", "--worst", "1", "--output", "IT", "--model",
          f"lite={MODEL_REPOSITORY / 'xpnet_lite_onnx' / '1' / 'model.onnx'}"), "masks/0.png"),
    ],
)  # fmt: skip
def test_output_that_is_a_file_of_the_data_set_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: tuple[str, ...], file: str
) -> None:
    data = make_discs(tmp_path / "set", 3)
    it = data / file
    before = it.read_bytes()
    words = {"DATA": str(data), "IT": str(it)}
    assert main([words.get(word, word) for word in command]) == 2
    assert f"{it.name}: is the input itself" in capsys.readouterr().err
    assert it.read_bytes() == before


def test_two_pictures_of_one_name_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = str(tmp_path / "a.png")
    assert main(["run", "graph", str(CLIP), "--dot", picture, "--picture", picture]) == 2
    assert "a.png: is named for two outputs" in capsys.readouterr().err


def test_output_name_that_is_not_utf8_is_refused(xpnet, tmp_path: Path) -> None:
    named = os.fsencode(tmp_path) + b"/caf\xe9.mp4"
    result = xpnet("run", CLIP, "--output", os.fsdecode(named), *IN_PROCESS)
    assert "expected a name in UTF-8" in one_line(result)


def test_clip_is_rotated_as_its_metadata_says(short_clip: Path, tmp_path: Path) -> None:
    """As phones write it, in the matrix of the track's header (ISO 14496-12, 8.3.2)."""
    content = bytearray(short_clip.read_bytes())
    matrix = content.index(b"tkhd") + 44
    clockwise = (0, 65536, 0, -65536, 0, 0, 0, 0, 1 << 30)
    content[matrix : matrix + 36] = struct.pack(">9i", *clockwise)
    clip = tmp_path / "turned.mp4"
    clip.write_bytes(content)
    settings = RunSettings(clip, tmp_path / "o.mp4", platform=GStreamerSettings("onnxruntime"))
    summary = run(replace(settings, style=OverlayStyle(opacity=0)))
    assert summary["frame_size"] == [720, 404]
    read = cv2.VideoCapture(str(clip))
    read.set(cv2.CAP_PROP_ORIENTATION_AUTO, 0)
    stored, made = read.read()[1], cv2.VideoCapture(str(tmp_path / "o.mp4")).read()[1]
    upright = cv2.rotate(stored, cv2.ROTATE_90_CLOCKWISE).astype(int)
    assert np.abs(made - upright).mean() < 12
    assert np.abs(made[::-1, ::-1] - upright).mean() > 30
    assert open_clip(clip, 0, rotate=False).width == 720


def test_interlaced_clip_is_deinterlaced(tmp_path: Path) -> None:
    """Black and white fields: striped if interlaced, one colour if deinterlaced."""
    clip = tmp_path / "fields.mp4"
    ffmpeg("-f", "lavfi", "-i", "color=s=320x240:r=50:d=0.4", "-vf",
           "geq=lum='16+219*mod(N,2)':cb=128:cr=128,tinterlace=4", "-c:v", "libx264",
           "-flags", "+ildct+ilme", "-qp", "4", str(clip))  # fmt: skip
    summary = run(RunSettings(clip, tmp_path / "o.mp4", platform=GStreamerSettings("onnxruntime")))
    assert summary["frames"] == 10
    made = cv2.VideoCapture(str(tmp_path / "o.mp4")).read()[1].astype(int)
    assert made[:, 160].std() < 12


def test_disk_that_fills_up(xpnet, short_clip: Path, tmp_path: Path) -> None:
    """A limit on the file size makes a write fail, as a full disk does."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    output = tmp_path / "o.mp4"
    output.write_bytes(b"the old one")
    result = xpnet("run", short_clip, "--output", output, *IN_PROCESS, preexec_fn=limit)
    assert "o.mp4: cannot be written" in one_line(result)
    assert output.read_bytes() == b"the old one"
    assert list(tmp_path.iterdir()) == [output]


def test_dead_server(xpnet, short_clip: Path, tmp_path: Path) -> None:
    result = xpnet("run", short_clip, "--output", tmp_path / "o.mp4", "--url", "127.0.0.1:1")
    assert "no Triton server answers at 127.0.0.1:1" in one_line(result)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--colour", "red", "expected RRGGBB"),
        ("--opacity", "3", "expected 0 to 1"),
        ("--model", "nosuch", "no such ONNX file"),
        ("--fps", "5", "plays at the rate that it was recorded at"),
    ],
)
def test_wrong_options(
    xpnet, short_clip: Path, tmp_path: Path, option: str, value: str, message: str
) -> None:
    result = xpnet("run", short_clip, "--output", tmp_path / "o.mp4", option, value, *IN_PROCESS)
    assert message in one_line(result)
