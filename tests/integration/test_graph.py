"""The real graph on real frames: correct masks, every frame, audio kept, complete files."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from deepstream.control.appearance import Appearance
from deepstream.control.controls import Controls
from deepstream.graph import element_tables
from deepstream.graph.description import ElementSpec
from deepstream.graph.pipeline import Graph, describe_graph
from deepstream.gstreamer import GLib, Gst
from deepstream.io.output import parse_output
from deepstream.io.source import open_clip
from deepstream.platforms.gstreamer_platform import GStreamerSettings
from deepstream.player import Ending, play
from deepstream.probes.triton_probe import MODES
from deepstream.run import RunSettings, run
from deepstream.run_summary import format_summary
from tests.conftest import CLIP, FRAMES_OF_CLIP, ffmpeg, repeated
from tests.integration.inference_doubles import WeakAndStrong
from xpnet.card import Card
from xpnet.frames import Segmentation, frame_to_tensor, probabilities_to_mask
from xpnet.overlay import OverlayStyle
from xpnet.serving.cpu_runtimes import best_runtime
from xpnet.serving.onnx_inference import OnnxInference
from xpnet.serving.triton_server import TritonServer

pytestmark = pytest.mark.integration


@pytest.fixture(autouse=True)
def _usual_priority(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two tests run at a time: a server that leaves the cores to others may give no mask at all."""
    monkeypatch.setattr("xpnet.host.processes.NICENESS", 0)


def expected_masks(
    frames: list[np.ndarray], card: Card, inference: OnnxInference
) -> list[np.ndarray]:
    masks = []
    for frame in frames:
        tensor = frame_to_tensor(frame, card.input.height, card.input.width)
        height, width = frame.shape[:2]
        probabilities = inference.submit(tensor).result()
        masks.append(probabilities_to_mask(probabilities, height, width, card.threshold, card.peak))
    return masks


@pytest.mark.parametrize("backend", ["triton", best_runtime()])
def test_masks_equal_those_of_inference_in_process(
    server: TritonServer, card: Card, in_process: OnnxInference, frames: list[np.ndarray],
    frame_folder: Path, tmp_path: Path, backend: str,
) -> None:  # fmt: skip
    seen: list[Segmentation] = []
    settings = RunSettings(
        frame_folder,
        tmp_path / "out.mp4",
        platform=GStreamerSettings(backend, server.grpc_url),
        fps=10,
    )
    summary = run(settings, seen.append)
    assert [s.timestamp_ns for s in seen] == [i * 100_000_000 for i in range(len(frames))]
    expected = expected_masks(frames, card, in_process)
    for ours, theirs in zip(seen, expected, strict=True):
        assert (ours.mask != theirs).mean() <= 1e-4
    assert summary["frames_with_polyp"] == sum(m.any() for m in expected) > 0
    assert summary["frames_without_mask"] == summary["probe_errors"] == 0


def test_drawn_pixels_equal_the_masks(
    card: Card, in_process: OnnxInference, frames: list[np.ndarray], frame_folder: Path,
    tmp_path: Path,
) -> None:  # fmt: skip
    settings = RunSettings(
        frame_folder, tmp_path / "o.mkv", platform=GStreamerSettings(best_runtime()), fps=10
    )
    run(replace(settings, style=OverlayStyle((0, 0, 255), 1.0)))
    drawn = cv2.VideoCapture(str(tmp_path / "o.mkv"))
    masks = expected_masks(frames, card, in_process)
    assert any(m.any() for m in masks)
    for frame, mask in zip(frames, masks, strict=True):
        ok, bgr = drawn.read()
        assert ok
        inner = cv2.erode(mask, np.ones((9, 9), np.uint8)) > 0
        outer = cv2.dilate(mask, np.ones((17, 17), np.uint8)) == 0
        blue = bgr[..., 0].astype(int) - bgr[..., 2]
        assert not inner.any() or blue[inner].mean() > 150
        original = cv2.cvtColor(frame, cv2.COLOR_RGB2BGR).astype(int)
        assert np.abs(bgr[outer] - original[outer]).mean() < 6  # the encoder's loss
    assert not drawn.read()[0]


@pytest.mark.parametrize(("peak", "threshold", "marked"), [
    (0.75, None, 1), (0.0, None, 2), (0.75, 0.4, 1), (0.5, 0.55, 2),
])  # fmt: skip
def test_only_areas_that_reach_the_peak_are_drawn(
    card: Card, short_clip: Path, tmp_path: Path, peak: float, threshold: float | None, marked: int
) -> None:
    source, target = open_clip(short_clip, 0), parse_output(tmp_path / "o.mkv")
    seen: list[Segmentation] = []
    shown = Appearance(style=OverlayStyle((0, 0, 255), 1.0), threshold=threshold)
    inference = WeakAndStrong(replace(card, peak=peak))
    probes = MODES["every"](
        source.height, source.width, inference, Controls(shown), on_mask=seen.append
    )
    outcome = play(
        source, target, probes,
        lambda sink, _: describe_graph("gstreamer", source, target.kind, sink, "every"),
    )  # fmt: skip
    assert outcome.ending is Ending.COMPLETE
    assert cv2.connectedComponents(seen[-1].mask)[0] - 1 == marked
    drawn = cv2.VideoCapture(str(tmp_path / "o.mkv"))
    pictures = []
    while (picture := drawn.read()[1]) is not None:
        pictures.append(picture)
    last = pictures[-1].astype(int)
    height, width = last.shape[:2]

    def is_blue(row: int, column: int) -> bool:
        return bool(last[row, column, 0] - last[row, column, 2] > 150)

    assert is_blue(height // 2, width // 2)
    assert is_blue(height // 8, width // 8) == (marked == 2)


def test_own_server_sound_and_summary(short_clip: Path, tmp_path: Path) -> None:
    output, summary_file = tmp_path / "out.mp4", tmp_path / "out.json"
    polyps = tmp_path / "out.jsonl"
    summary = run(RunSettings(short_clip, output, json=summary_file, polyps=polyps))
    assert summary == json.loads(summary_file.read_text())
    assert summary["frames"] == 40
    assert summary["ending"] == "complete"
    assert summary["latency_ms"]["p50"] <= summary["latency_ms"]["p95"]
    made = open_clip(output, 0)
    assert (made.width, made.height, made.frames, made.has_audio) == (720, 404, 40, True)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out.json", "out.jsonl", "out.mp4"]
    # Stream time: the file's own timestamps start at two frames, for its B-frames.
    times = [json.loads(line)["time"] for line in polyps.read_text().splitlines()]
    assert times == pytest.approx([number / 25 for number in range(40)])
    lines, failure = format_summary(summary)
    assert "40 frames" in lines[0]
    assert failure == ""


def test_mode_latest_shows_every_frame(
    short_clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Segmentation] = []
    infer = OnnxInference._run

    def slowly(self: OnnxInference, tensor: np.ndarray) -> np.ndarray:
        time.sleep(0.1)  # slower than the clip on any machine
        return infer(self, tensor)

    monkeypatch.setattr(OnnxInference, "_run", slowly)
    settings = RunSettings(
        short_clip, tmp_path / "out.mp4", mode="latest", platform=GStreamerSettings("onnxruntime"),
        max_mask_age_s=1.0,
    )  # fmt: skip
    summary = run(settings, seen.append)
    assert summary["frames"] == open_clip(tmp_path / "out.mp4", 0).frames == 40
    # Inference is slower than the clip, so masks are repeated, in order.
    stamps = [s.timestamp_ns for s in seen]
    assert stamps == sorted(stamps)
    assert len(set(stamps)) < len(stamps)
    assert summary["frames_without_mask"] + len(seen) == 40
    # Paced at the clip's rate (1.56 s): without pacing the frames pass in a fraction of it.
    assert summary["seconds"] > 1.0


# `latest` is paced: a busy machine has its first mask late, and notices the failure later still.
@pytest.mark.parametrize(("mode", "last", "times"), [("every", 10, 1), ("latest", 1, 5)])
def test_server_that_dies_leaves_a_complete_clip(
    own_server: TritonServer, short_clip: Path, tmp_path: Path, mode: str, last: int, times: int
) -> None:
    seen = 0

    def kill_soon(_: Segmentation) -> None:
        nonlocal seen
        seen += 1
        if seen == last:
            own_server.kill()

    settings = RunSettings(
        repeated(short_clip, times),
        tmp_path / "o.mp4",
        mode,
        platform=GStreamerSettings(url=own_server.grpc_url),
    )
    summary = run(settings, kill_soon)
    assert summary["frames"] == open_clip(tmp_path / "o.mp4", 0).frames == 40 * times
    if mode == "every":
        assert 25 <= summary["frames_without_mask"] <= 30
    failure = format_summary(summary)[1]
    assert own_server.grpc_url in failure
    assert "o.mp4 is complete" in failure


def test_a_server_that_stalls_does_not_stop_the_video(
    own_server: TritonServer,
    short_clip: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("xpnet.serving.triton_client.TIMEOUT_S", 1.0)
    monkeypatch.setattr("deepstream.probes.triton_probe.INFERENCE_TIMEOUT_S", 2.0)
    seen = 0

    def freeze_at_the_tenth(_: Segmentation) -> None:
        nonlocal seen
        seen += 1
        if seen == 10:
            os.killpg(own_server.process_group, signal.SIGSTOP)

    summary = run(
        RunSettings(
            short_clip,
            tmp_path / "o.mp4",
            platform=GStreamerSettings(url=own_server.grpc_url),
        ),
        freeze_at_the_tenth,
    )
    os.killpg(own_server.process_group, signal.SIGCONT)
    assert summary["frames"] == 40
    assert summary["frames_without_mask"] >= 25


def test_frames_continue_if_a_probe_fails(short_clip: Path, tmp_path: Path) -> None:
    def broken(_: Segmentation) -> None:
        raise ValueError("a mistake in the program")

    settings = RunSettings(
        short_clip, tmp_path / "o.mp4", platform=GStreamerSettings("onnxruntime")
    )
    summary = run(settings, broken)
    assert summary["frames"] == summary["probe_errors"] == 40
    assert open_clip(tmp_path / "o.mp4", 0).frames == 40
    failure = format_summary(summary)[1]
    assert failure.startswith("ValueError: a mistake in the program: 40 of 40 frames have no mask")


def test_stalled_source_leaves_a_complete_file(
    short_clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sixth frame never leaves the decoder; without a progress bar."""
    monkeypatch.setattr("deepstream.player.STALL_S", 2.0)
    passed = 0

    def hold(_pad: object, _info: object) -> Gst.PadProbeReturn:
        nonlocal passed
        passed += 1
        # Dropping all buffers but the end of stream looks like a stalled source.
        return Gst.PadProbeReturn.OK if passed <= 5 else Gst.PadProbeReturn.DROP

    build = Graph.__init__

    def build_and_hold(self: Graph, *args: object, **kwargs: object) -> None:
        build(self, *args, **kwargs)  # type: ignore[arg-type]
        pad = self.element("input").get_static_pad("sink")
        pad.add_probe(Gst.PadProbeType.BUFFER, hold)
        pad.add_probe(Gst.PadProbeType.EVENT_DOWNSTREAM, withhold_first_end)

    ends = 0

    def withhold_first_end(_pad: object, info: object) -> Gst.PadProbeReturn:
        nonlocal ends
        if info.get_event().type == Gst.EventType.EOS:  # type: ignore[attr-defined]
            ends += 1
            return Gst.PadProbeReturn.DROP if ends == 1 else Gst.PadProbeReturn.OK
        return Gst.PadProbeReturn.OK

    monkeypatch.setattr(Graph, "__init__", build_and_hold)
    summary = run(
        RunSettings(short_clip, tmp_path / "o.mp4", platform=GStreamerSettings("onnxruntime"))
    )
    assert (summary["frames"], summary["ending"]) == (5, "broken input")
    assert "broken after 5 frames (no frame for" in format_summary(summary)[1]
    written = cv2.VideoCapture(str(tmp_path / "o.mp4"))
    assert written.get(cv2.CAP_PROP_FRAME_COUNT) == 5
    assert written.read()[0]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_by_the_user(tmp_path: Path, number: int) -> None:
    output, summary_file = tmp_path / "o.mp4", tmp_path / "o.json"
    process = subprocess.Popen(
        [sys.executable, "-m", "xpnet.cli", "run", str(CLIP), "--backend", "onnxruntime",
         "--output", str(output), "--json", str(summary_file)],
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    deadline = time.monotonic() + 60
    # Its hidden file grows once frames come out of the encoder.
    while not any(p.stat().st_size for p in tmp_path.glob(".o.mp4.*.part")):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    process.send_signal(number)
    assert process.wait(60) == 0
    summary = json.loads(summary_file.read_text())
    assert summary["ending"] == "interrupted"
    assert 0 < summary["frames"] < FRAMES_OF_CLIP
    assert open_clip(output, 0).frames == summary["frames"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["o.json", "o.mp4"]


def test_audio_longer_than_the_video_is_complete(short_clip: Path, tmp_path: Path) -> None:
    long = tmp_path / "long.mp4"
    ffmpeg("-i", str(short_clip), "-f", "lavfi", "-i", "sine=300", "-map", "0:v", "-map", "1:a",
           "-t", "5", "-c:v", "copy", "-c:a", "aac", str(long))  # fmt: skip
    summary = run(RunSettings(long, tmp_path / "o.mp4", platform=GStreamerSettings("onnxruntime")))
    assert (summary["frames"], summary["ending"], summary["audio"]) == (40, "complete", True)
    assert open_clip(tmp_path / "o.mp4", 0).seconds == pytest.approx(5, abs=0.2)


def test_slow_folder_is_not_broken(frame_folder: Path, tmp_path: Path) -> None:
    settings = RunSettings(
        frame_folder, tmp_path / "o.mp4", platform=GStreamerSettings("onnxruntime"), fps=0.5
    )
    assert run(settings)["ending"] == "complete"


@pytest.mark.parametrize("stage", ["encoder.software", "sound"])
def test_failed_element_leaves_a_complete_recording(
    stage: str, short_clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = element_tables.GSTREAMER_TABLE[stage]
    broken = ElementSpec("identity", properties={"error-after": "20"})
    monkeypatch.setitem(
        element_tables.TABLES, "gstreamer",
        {**element_tables.GSTREAMER_TABLE, stage: (rows[0], broken, *rows[1:])},
    )  # fmt: skip
    summary = run(
        RunSettings(short_clip, tmp_path / "o.mp4", platform=GStreamerSettings("onnxruntime"))
    )
    assert summary["ending"] == "broken graph"
    assert "identity: " in format_summary(summary)[1]
    written = cv2.VideoCapture(str(tmp_path / "o.mp4"))
    assert 0 < written.get(cv2.CAP_PROP_FRAME_COUNT) <= summary["frames"]
    assert written.read()[0]
    assert [p.name for p in tmp_path.iterdir()] == ["o.mp4"]


def test_deferred_work_of_elements_runs_while_playing(short_clip: Path, tmp_path: Path) -> None:
    """nvurisrcbin watches its RTSP stream from a timeout on the default main context."""
    turns: list[float] = []

    def turn() -> bool:
        turns.append(time.monotonic())
        return True

    source = GLib.timeout_add(100, turn)
    try:
        run(
            RunSettings(
                short_clip, tmp_path / "o.mp4", "latest", platform=GStreamerSettings("onnxruntime")
            )
        )
    finally:
        GLib.source_remove(source)
    assert len(turns) >= 10  # the clip takes 1.6 seconds
