"""`xpnet run --platform deepstream` from settings to files, as far as it goes without a GPU.

NVIDIA's elements cannot be had here, so the platform's table has plain ones in their places, and a
probe does what nvinferserver does: it runs the model and leaves real NVIDIA metadata on the frame.
Settings, checks, description, graph, player, the DeepStream probe and the results are what ships.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from deepstream import platforms, run
from deepstream.description import Row, Table
from deepstream.probes.nvds_probe import NvdsProbes
from deepstream.probes.pixels import buffer_address, mapped_frame, timestamp_ns
from deepstream.run import RunSettings
from deepstream.source import open_clip
from tests.conftest import ffmpeg
from tests.deepstream.nvds import buffers, pyds
from tests.integration.camera import Camera, free_tcp_port
from xpnet.errors import UserError
from xpnet.frames import frame_to_tensor
from xpnet.inference import OnnxInference
from xpnet.runtimes import best_runtime
from xpnet.triton.server import REPOSITORY

pytestmark = pytest.mark.integration

MODEL = "xpnet_lite"


def shown(path: Path) -> Iterator[np.ndarray]:
    """The frames of a clip."""
    clip = cv2.VideoCapture(str(path))
    while True:
        ok, frame = clip.read()
        if not ok:
            return
        yield frame


def plain_table() -> Table:
    """DeepStream's table with plain elements where NVIDIA's stand."""
    plain, nvidia = platforms.GSTREAMER_TABLE, platforms.DEEPSTREAM_TABLE
    (overlay, drawn) = nvidia["overlay"]
    return {
        **nvidia,
        "source.file": plain["source.file"],
        "frame": plain["frame"],
        "source.rtsp": plain["source.rtsp"],
        "inference.every": (
            Row("identity", "inference", probes=(("src", "leave_metadata"),)),
            Row("queue", "inflight"),
        ),
        "inference.latest": (
            Row("identity", "inference", probes=(("src", "leave_metadata"),)),
            Row("queue", "inflight"),
        ),
        "inference.none": (
            Row("identity", "muxed", probes=(("src", "leave_nothing"),)),
            Row("queue", "inflight"),
        ),
        "encoder.software-live": plain["encoder.software-live"],
        "overlay": (Row("identity", "overlay", probes=overlay.probes), drawn),
        "encoder.software": plain["encoder.software"],
    }


@pytest.fixture
def settings(tmp_path: Path, short_clip: Path) -> RunSettings:
    folder = tmp_path / "models" / MODEL
    shutil.copytree(REPOSITORY / MODEL, folder)
    (folder / "1").mkdir(exist_ok=True)
    (folder / "1" / "model.plan").write_bytes(b"a plan")
    return RunSettings(
        short_clip, tmp_path / "o.mp4", platform="deepstream", model=MODEL,
        repository=tmp_path / "models", polyps=tmp_path / "polyps.jsonl",
    )  # fmt: skip


@pytest.fixture
def silent_after(monkeypatch: pytest.MonkeyPatch, in_process: OnnxInference) -> list[int]:
    """Puts the stand-ins in place; from its number on, frames get no result."""
    limit = [10**9]

    class WithServer(NvdsProbes):
        """Beside the probe, what nvinferserver does to a frame, and to those it leaves out
        (GstNvInferServerImpl::processFullFrame)."""

        def leave_metadata(self, _pad: Any, info: Any) -> None:
            self.passed = getattr(self, "passed", -1) + 1
            if self.passed % (self.interval + 1) > 0:
                self.leave_nothing(_pad, info)
                return
            pyds.surface_size, pyds.surface_pitch = (self.height, self.width), 4 * self.width
            size = self.card.input
            with mapped_frame(info, self.height, self.width, write=True) as frame:
                tensor = frame_to_tensor(frame, size.height, size.width)
            found = in_process.submit(tensor).result()
            if self.tensors:
                result = buffers.tensor(found)
            else:
                classes = np.where(found > self.card.threshold, 0, -1).astype(np.int32)
                result = buffers.segmentation(classes)
            limit[0] -= 1
            stamp = timestamp_ns(info) or 0
            buffers.attach(buffer_address(info), [result if limit[0] >= 0 else None], stamp)

        def leave_nothing(self, _pad: Any, info: Any) -> None:
            """A frame of nvstreammux alone."""
            buffers.attach(buffer_address(info), [None], timestamp_ns(info) or 0)

    monkeypatch.setitem(platforms.TABLES, platforms.DGPU, plain_table())
    monkeypatch.setattr(run, "check_machine", lambda _: (platforms.DGPU, pyds))
    monkeypatch.setattr(run, "NvdsProbes", WithServer)
    return limit


@pytest.mark.parametrize("tensors", [True, False], ids=["probabilities", "class map"])
def test_it_gives_what_the_plain_graph_gives(
    silent_after: list[int], settings: RunSettings, tmp_path: Path, tensors: bool
) -> None:
    summary = run.run(replace(settings, tensors=tensors))
    plain = run.run(
        RunSettings(
            settings.input, tmp_path / "plain.mp4", backend=best_runtime(),
            polyps=tmp_path / "plain.jsonl",
        )
    )  # fmt: skip
    assert (summary["frames"], summary["ending"], summary["backend"]) == (
        40, "complete", "nvinferserver",
    )  # fmt: skip
    assert (summary["probe_errors"], summary["frames_without_mask"]) == (0, 0)
    assert summary["frames_with_polyp"] == plain["frames_with_polyp"] > 0
    ours, theirs = (
        [json.loads(line)["polyps"] for line in (tmp_path / name).read_text().splitlines()]
        for name in ("polyps.jsonl", "plain.jsonl")
    )
    if tensors:
        assert ours == theirs
        pairs = zip(shown(tmp_path / "o.mp4"), shown(tmp_path / "plain.mp4"), strict=True)
        assert [bool((mine == other).all()) for mine, other in pairs] == [True] * 40
    else:  # cut at the network's size, so an edge may lie a pixel away
        for mine, other in zip(ours, theirs, strict=True):
            assert [p["id"] for p in mine] == [p["id"] for p in other]
            for a, b in zip(mine, other, strict=True):
                assert a["area"] == pytest.approx(b["area"], rel=0.1)
                assert a["probability"] is None


@pytest.mark.parametrize("interval", [None, 3])
def test_the_newest_mask_is_on_every_frame_in_mode_latest(
    silent_after: list[int], settings: RunSettings, interval: int | None
) -> None:
    before, left_out = silent_after[0], interval or 1
    summary = run.run(replace(settings, mode="latest", interval=interval))
    assert before - silent_after[0] == 40 // (left_out + 1)  # masks that were computed
    assert (summary["frames"], summary["frames_without_mask"]) == (40, 0)
    assert (summary["ending"], summary["mode"], summary["interval"]) == (
        "complete", "latest", left_out,
    )  # fmt: skip
    assert summary["mask_age_ms"]["p99"] == pytest.approx(left_out * 40, abs=1)
    assert summary["lateness_ms"] is None


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"interval": 2}, "--interval belongs to --mode latest on DeepStream"),
        ({"interval": 2, "mode": "latest", "platform": "gstreamer"}, "--interval belongs to"),
        ({"interval": 0, "mode": "latest"}, "--interval 0, expected 1 to 30"),
        ({"interval": 31, "mode": "latest"}, "--interval 31, expected 1 to 30"),
    ],
)
def test_an_interval_where_none_belongs(
    settings: RunSettings, changed: dict[str, Any], expected: str
) -> None:
    with pytest.raises(UserError, match=expected):
        replace(settings, **changed)


def sounding(clip: Path, path: Path, codec: str, seconds: float) -> Path:
    """A clip with a tone."""
    ffmpeg("-i", str(clip), "-f", "lavfi", "-i", "sine=300", "-map", "0:v", "-map", "1:a",
           "-t", str(seconds), "-c:v", "copy", "-c:a", codec, str(path))  # fmt: skip
    return path


def stored_sound(path: Path) -> list[bytes]:
    """A hash of each packet of a file's sound, as it is stored."""
    asked = ["ffmpeg", "-loglevel", "error", "-i", str(path), "-map", "0:a", "-c", "copy",
             "-f", "framehash", "-"]  # fmt: skip
    lines = subprocess.run(asked, capture_output=True, check=True).stdout.splitlines()
    return [line.rpartition(b",")[2] for line in lines if not line.startswith(b"#")]


@pytest.mark.parametrize(
    ("source", "codec", "output"),
    [("a.mp4", "aac", "o.mp4"), ("a.mp4", "aac", "o.mkv"), ("a.mkv", "libmp3lame", "o.mp4"),
     ("a.mkv", "pcm_s16le", "o.mkv")],
)  # fmt: skip
def test_sound_goes_into_the_file_as_it_is_stored(
    silent_after: list[int], settings: RunSettings, short_clip: Path, tmp_path: Path,
    source: str, codec: str, output: str,
) -> None:  # fmt: skip
    clip = sounding(short_clip, tmp_path / source, codec, 1.6)
    summary = run.run(replace(settings, input=clip, output=tmp_path / output))
    assert (summary["frames"], summary["ending"]) == (40, "complete"), summary["reason"]
    assert summary["audio"] is True
    assert len(list(shown(tmp_path / output))) == 40
    wanted, found = stored_sound(clip), stored_sound(tmp_path / output)
    # A packet before the beginning, of the encoder's delay, may be told or not.
    assert [x for x in wanted if x in found] == [x for x in found if x in wanted]
    assert len(set(wanted) & set(found)) > 0.9 * max(len(wanted), len(found))


def test_a_flash_and_its_tone_stay_together(
    silent_after: list[int], settings: RunSettings, tmp_path: Path
) -> None:
    clip = tmp_path / "flash.mp4"
    ffmpeg("-f", "lavfi", "-i", "color=black:s=320x256:r=25,drawbox=color=white:t=fill:"
           "enable='between(t,0.6,0.8)'", "-f", "lavfi", "-i",
           "aevalsrc='if(between(t,0.6,0.8),sin(5529*t),0)':s=44100", "-t", "1.2", "-bf", "2",
           str(clip))  # fmt: skip
    run.run(replace(settings, input=clip, mode="latest"))
    assert heard_s(Path(settings.output)) == pytest.approx(heard_s(clip), abs=0.01)
    flashes = [number for number, frame in enumerate(shown(Path(settings.output)))
               if frame.mean() > 128]  # fmt: skip
    assert flashes[0] / 25 == pytest.approx(heard_s(clip), abs=0.04)


def heard_s(path: Path) -> float:
    """When a file's sound begins to be heard."""
    asked = ["ffmpeg", "-i", str(path), "-af", "silencedetect=n=-30dB:d=0.1", "-vn", "-f", "null",
             "-"]  # fmt: skip
    said = subprocess.run(asked, capture_output=True, text=True, check=True).stderr
    return float(re.findall(r"silence_end: ([\d.]+)", said)[0])


def test_sound_that_the_container_does_not_take_is_left_out_and_may_be_longer(
    silent_after: list[int], settings: RunSettings, short_clip: Path, tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    long = sounding(short_clip, tmp_path / "long.mkv", "pcm_s16le", 5)
    summary = run.run(replace(settings, input=long))
    assert (summary["frames"], summary["ending"]) == (40, "complete"), summary["reason"]
    assert summary["audio"] is False
    assert not open_clip(Path(settings.output), 0).has_audio
    assert f"its sound, audio/x-raw, does not go into {settings.output}: left out" in caplog.text


def test_a_run_that_is_stopped_ends_its_sound_too(
    silent_after: list[int], settings: RunSettings, short_clip: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    failing(monkeypatch, after=20)
    clip = sounding(short_clip, tmp_path / "a.mp4", "aac", 1.6)
    summary = run.run(replace(settings, input=clip))
    assert (summary["ending"], summary["frames"]) == ("broken graph", 19)
    assert open_clip(Path(settings.output), 0).has_audio


def test_frames_that_would_have_to_be_enlarged_are_refused(
    silent_after: list[int], settings: RunSettings, short_clip: Path, tmp_path: Path
) -> None:
    small = tmp_path / "small.mp4"
    ffmpeg("-i", str(short_clip), "-vf", "scale=320:180", "-t", "0.2", str(small))
    with pytest.raises(UserError, match=r"small.mp4 on DeepStream: 320x180, expected 256x256 or"):
        run.run(replace(settings, input=small))
    assert not Path(settings.output).exists()


def failing(monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    """nvinferserver's answer to an inference that fails: an error on the bus, and no more flow."""
    table = plain_table()
    broken = replace(table["inference.every"][0], properties={"error-after": str(after)})
    table = {**table, "inference.every": (broken, *table["inference.every"][1:])}
    monkeypatch.setitem(platforms.TABLES, platforms.DGPU, table)


def test_an_inference_that_fails_half_way_leaves_a_finished_recording(
    silent_after: list[int], settings: RunSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing(monkeypatch, after=20)
    summary = run.run(settings)
    assert summary["ending"] == "broken graph"
    frames = summary["frames"]
    assert frames == 19
    assert len(list(shown(Path(settings.output)))) == frames
    assert len(Path(settings.polyps or "").read_text().splitlines()) == frames
    failure = run.describe(summary)[1]
    assert failure.startswith("identity (inference): ")
    assert failure.endswith(f": ended after {frames} frames; {settings.output} holds those")


def test_a_live_picture_goes_on_without_masks_where_inference_fails(
    silent_after: list[int], settings: RunSettings, short_clip: Path,
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    failing(monkeypatch, after=10)
    camera = Camera(short_clip)
    try:
        address = f"rtsp://127.0.0.1:{free_tcp_port()}/masks"
        summary = run.run(
            replace(settings, input=camera.address, output=address, height=258, width=458)
        )
    finally:
        camera.unplug()
    assert summary["ending"] == "complete", summary
    assert summary["frames"] > 9 + 5
    assert summary["frames_without_mask"] == summary["frames"] - 9
    assert summary["probe_errors"] == 0
    assert "the video goes on without masks" in caplog.text
    assert run.describe(summary)[1].startswith("identity (inference): ")


def test_an_inference_that_never_starts_is_one_line_and_nothing_is_written(
    silent_after: list[int], settings: RunSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing(monkeypatch, after=1)
    with pytest.raises(UserError, match=r"identity \(inference\): .*no frame came through"):
        run.run(settings)
    assert not Path(settings.output).exists()
    assert not list(Path(settings.output).parent.glob(".*.part"))


def test_frames_without_a_result_go_on_and_are_counted(
    silent_after: list[int], settings: RunSettings
) -> None:
    silent_after[0] = 30
    summary = run.run(settings)
    assert (summary["frames"], summary["frames_without_mask"]) == (40, 10)
    assert open_clip(Path(settings.output), 0).frames == 40
    failure = run.describe(summary)[1]
    assert failure.startswith("nvinferserver left no mask on the frame: 10 of 40 frames have no")
    lines = Path(settings.polyps or "").read_text().splitlines()
    assert [json.loads(line)["polyps"] is None for line in lines] == [False] * 30 + [True] * 10
