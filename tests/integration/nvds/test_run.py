"""`xpnet run --platform deepstream` with the replacements of conftest.py."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from deepstream.io.source import open_clip
from deepstream.platforms.deepstream_platform import frames_without_inference
from deepstream.platforms.gstreamer_platform import GStreamerSettings
from deepstream.run import RunSettings, run
from deepstream.run_summary import format_summary
from tests.conftest import ffmpeg, repeated, video_frames
from tests.integration.nvds.conftest import fail_inference, with_platform
from tests.integration.pausing import check_notices, pausing_source
from xpnet.bench.camera import Camera, free_tcp_port
from xpnet.errors import UserError
from xpnet.host.interrupts import interrupted_when
from xpnet.serving.cpu_runtimes import best_runtime

pytestmark = pytest.mark.integration


@pytest.mark.parametrize("probabilities", [True, False], ids=["probabilities", "class map"])
def test_deepstream_and_plain_gstreamer_give_the_same_masks_and_polyps(
    frames_with_result: list[int], settings: RunSettings, tmp_path: Path, probabilities: bool
) -> None:
    # DeepStream's probe draws on RGBA, the other one on the decoder's format: here both are RGB.
    rgb = tmp_path / "rgb.mkv"
    ffmpeg("-i", str(settings.input), "-an", "-pix_fmt", "bgr0", "-c:v", "ffv1", str(rgb))
    # Averages of class maps, 0 or 1, differ from those of probabilities.
    settings = replace(settings, input=rgb, smoothing=probabilities)
    summary = run(with_platform(settings, probabilities=probabilities))
    plain = run(
        RunSettings(
            settings.input, tmp_path / "plain.mp4", platform=GStreamerSettings(best_runtime()),
            polyps=tmp_path / "plain.jsonl", smoothing=probabilities,
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
    if probabilities:
        assert ours == theirs
        pairs = zip(
            video_frames(tmp_path / "o.mp4"), video_frames(tmp_path / "plain.mp4"), strict=True
        )
        assert [bool((mine == other).all()) for mine, other in pairs] == [True] * 40
    else:  # thresholded at the network's size, so edges may differ by a pixel
        for mine, other in zip(ours, theirs, strict=True):
            assert [p["id"] for p in mine] == [p["id"] for p in other]
            for a, b in zip(mine, other, strict=True):
                assert a["area"] == pytest.approx(b["area"], rel=0.1)
                assert a["probability"] is None


@pytest.mark.parametrize("interval", [None, 3])
def test_every_frame_shows_the_newest_mask_in_mode_latest(
    frames_with_result: list[int], settings: RunSettings, interval: int | None
) -> None:
    before, skipped = frames_with_result[0], interval or 1
    summary = run(replace(with_platform(settings, interval=interval), mode="latest"))
    assert before - frames_with_result[0] == 40 // (skipped + 1)  # number of computed masks
    assert (summary["frames"], summary["frames_without_mask"]) == (40, 0)
    assert (summary["ending"], summary["mode"], summary["interval"]) == (
        "complete", "latest", skipped,
    )  # fmt: skip
    assert summary["mask_age_ms"]["p99"] == pytest.approx(skipped * 40, abs=1)
    assert summary["lateness_ms"] is None


@pytest.mark.parametrize(
    ("interval", "mode", "expected"),
    [
        (2, "every", "--interval belongs to --mode latest on DeepStream"),
        (0, "latest", "--interval 0, expected 1 to 30"),
        (31, "latest", "--interval 31, expected 1 to 30"),
    ],
)
def test_wrong_interval_is_refused(interval: int, mode: str, expected: str) -> None:
    with pytest.raises(UserError, match=expected):
        frames_without_inference(interval, mode)


def test_frames_smaller_than_the_network_are_refused(
    frames_with_result: list[int], settings: RunSettings, short_clip: Path, tmp_path: Path
) -> None:
    small = tmp_path / "small.mp4"
    ffmpeg("-i", str(short_clip), "-vf", "scale=320:180", "-t", "0.2", str(small))
    with pytest.raises(UserError, match=r"small.mp4 on DeepStream: 320x180, expected 256x256 or"):
        run(replace(settings, input=small))
    assert not Path(settings.output).exists()


def test_inference_failure_leaves_a_complete_recording(
    frames_with_result: list[int], settings: RunSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_inference(monkeypatch, after=20)
    summary = run(settings)
    assert summary["ending"] == "broken graph"
    frames = summary["frames"]
    assert frames == 19
    assert len(video_frames(Path(settings.output))) == frames
    assert len(Path(settings.polyps or "").read_text().splitlines()) == frames
    failure = format_summary(summary)[1]
    assert failure.startswith("identity (inference): ")
    assert failure.endswith(f": stopped after {frames} frames; {settings.output} contains them")


def test_live_picture_continues_without_masks_if_inference_fails(
    frames_with_result: list[int], settings: RunSettings, short_clip: Path,
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    fail_inference(monkeypatch, after=10)
    camera = Camera(repeated(short_clip, 3))
    try:
        address = f"rtsp://127.0.0.1:{free_tcp_port()}/masks"
        summary = run(
            replace(settings, input=camera.address, output=address, height=258, width=458)
        )
    finally:
        camera.unplug()
    assert summary["ending"] == "complete", summary
    assert summary["frames"] > 9 + 5
    assert summary["frames_without_mask"] == summary["frames"] - 9
    assert summary["probe_errors"] == 0
    assert "the video continues without masks" in caplog.text
    assert format_summary(summary)[1].startswith("identity (inference): ")


def test_inference_that_never_starts_gives_one_line_and_no_file(
    frames_with_result: list[int], settings: RunSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_inference(monkeypatch, after=1)
    with pytest.raises(UserError, match=r"identity \(inference\): .*no frame was processed"):
        run(settings)
    assert not Path(settings.output).exists()
    assert not list(Path(settings.output).parent.glob(".*.part"))


def test_frames_without_result_pass_and_are_counted(
    frames_with_result: list[int], settings: RunSettings
) -> None:
    frames_with_result[0] = 30
    summary = run(settings)
    assert (summary["frames"], summary["frames_without_mask"]) == (40, 10)
    assert open_clip(Path(settings.output), 0).frames == 40
    failure = format_summary(summary)[1]
    assert failure.startswith(
        "nvinferserver attached no mask to the frame: 10 of 40 frames have no"
    )
    lines = Path(settings.polyps or "").read_text().splitlines()
    assert [json.loads(line)["polyps"] is None for line in lines] == [False] * 30 + [True] * 10


@pytest.mark.parametrize(("mode", "fewest"), [("latest", 8), ("every", 5)])
def test_lost_source_shows_its_last_frame_with_a_notice(
    frames_with_result: list[int], settings: RunSettings, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, mode: str, fewest: int,
) -> None:  # fmt: skip
    times = pausing_source(monkeypatch)
    output = tmp_path / "o.mkv"
    clip = f"live:{repeated(Path(settings.input), 3)}"
    settings = replace(settings, input=clip, output=output, mode=mode, polyps=None)
    with interrupted_when(lambda: len(times) > 110, 120.0):
        summary = run(settings)
    check_notices(output, times, fewest)
    assert summary["probe_errors"] == 0
    assert summary["reconnects"] == 0  # the source did not fail, it only paused
