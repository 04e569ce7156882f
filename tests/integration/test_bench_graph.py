"""`xpnet bench graph` and `xpnet bench device` on small pictures, and what they must notice."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from deepstream.bench.clips import scaled_clip
from deepstream.bench.device_report import as_markdown as device_table
from deepstream.bench.false_marks import ClipPart, count_false_marks
from deepstream.bench.graph_report import as_markdown as graph_table
from deepstream.bench.jobs import NETWORK, OVERLAY, Job, run_job
from deepstream.bench.pixels import compare_pixels
from deepstream.probes import triton_probe
from tests.conftest import CLIP, one_line, video_frames
from tests.integration.inference_doubles import FixedMap
from xpnet.card import Card
from xpnet.overlay import draw_on_planes
from xpnet.serving.cpu_runtimes import best_runtime

pytestmark = pytest.mark.integration

SMALL = (180, 320)


@pytest.fixture(scope="module")
def small_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The last second of the demo clip, 320 x 180."""
    path = tmp_path_factory.mktemp("small") / "small.mp4"
    scaled_clip(CLIP, path, SMALL, 1.0)
    return path


def test_clip_has_the_size_and_the_duration(small_clip: Path) -> None:
    frames = video_frames(small_clip)
    assert (len(frames), frames[0].shape) == (25, (*SMALL, 3))
    last = cv2.resize(video_frames(CLIP)[-1], SMALL[::-1], interpolation=cv2.INTER_AREA)
    assert np.abs(frames[-1].astype(int) - last).mean() < 6


def test_parts_are_timed_and_copies_counted_in_a_run(small_clip: Path, tmp_path: Path) -> None:
    output = str(tmp_path / "out.mp4")
    found = run_job(Job("parts", str(small_clip), output, "every", best_runtime()))
    assert (found["ending"], found["frames"]) == ("complete", 25)
    parts = ("decode", "preprocess", "inference", "mask", "overlay", "encode")
    assert all(0 < found["parts"][part]["p50"] <= found["parts"][part]["p95"] for part in parts)
    copies = run_job(Job("copies", str(small_clip), output, "latest", best_runtime()))
    # The branch of inference holds the frame, so the overlay draws on a copy; nothing else copies.
    assert set(copies["where"]) == {"overlay"}
    assert copies["frames"] > 0


@pytest.mark.parametrize("chain", [OVERLAY, NETWORK])
def test_delay_is_read_from_the_picture(chain: str, small_clip: Path) -> None:
    job = Job("glass", str(small_clip), "none", "latest", best_runtime(), seconds=1.5, chain=chain)
    found = run_job(job)
    assert found["ending"] == "interrupted"
    assert found["read"] > 5
    assert 0 < found["glass_ms"]["p50"] < 10_000
    assert found["unreadable"] < found["read"]


def test_graph_report(xpnet, tmp_path: Path) -> None:
    out, page, plot = (tmp_path / f"out.{suffix}" for suffix in ("json", "md", "png"))
    result = xpnet("bench", "graph", "--sizes", "320x180", "--seconds", 1, "--modes", "every",
                   "--streams", 2, "--only", "parts", "runs", "--backend", best_runtime(),
                   "--json", out, "--markdown", page, "--plot", plot)  # fmt: skip
    assert result.returncode == 0, result.stderr
    report = json.loads(out.read_text())
    assert report["skipped"] == []
    (run,) = report["runs"]
    assert (run["streams"], len(run["fps_each"])) == (2, 2)
    assert run["fps"] == pytest.approx(sum(run["fps_each"]), abs=0.02)
    parts = {row["part"]: row["median_ms"] for row in report["parts"]}
    assert {"decode", "inference", "steady", "overlay", "outline", "encode", "encode, live"} <= set(
        parts
    )
    assert all(time > 0 for time in parts.values())
    assert page.read_text() == result.stdout == graph_table(report)
    assert plot.read_bytes().startswith(b"\x89PNG")


def test_pixels_outside_the_marks_are_the_same(card: Card, small_clip: Path) -> None:
    found = compare_pixels(small_clip, FixedMap(card))
    assert (found["frames"], found["frames_as_decoded"]) == (25, 25)
    assert found["frames_with_mark"] == 23  # an area is marked from its third frame on
    assert found["different_outside"] == 0
    assert found["different_inside"] > 0
    assert found["samples_outside"] > 0.5 * 25 * 1.5 * SMALL[0] * SMALL[1]


def test_a_changed_sample_outside_the_marks_is_noticed(
    card: Card, small_clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def draw(planes, *args: object) -> None:
        draw_on_planes(planes, *args)
        planes[0].pixels[0, 0] ^= 1

    monkeypatch.setattr(triton_probe, "draw_on_planes", draw)
    assert compare_pixels(small_clip, FixedMap(card))["different_outside"] == 23


def test_false_marks_of_a_part_of_a_clip(card: Card, small_clip: Path) -> None:
    found = count_false_marks(ClipPart(small_clip, 0.2, 0.6), FixedMap(card))
    assert (found["frames"], found["frames_with_mark"]) == (10, 10)
    assert (found["marks"], found["lasting"]) == (1, 1)
    assert found["marks_per_minute"] == pytest.approx(60 / 0.4, rel=0.01)


def test_device_report_names_what_was_skipped(card: Card) -> None:
    report = {
        "algorithm": [], "algorithm_from": "card", "threshold": 0.5, "false_marks": [],
        "machine": "m", "cores": 2, "date": "d", "gstreamer": "1", "backend": "b", "model": "x",
        "clip": "c", "seconds": 1.0, "load_before": 3.0, "skipped": ["delay: no encoder"],
    }  # fmt: skip
    text = device_table(report)
    assert "Skipped: delay: no encoder." in text
    assert "the machine was busy" in text
    assert "the machine was busy" not in device_table({**report, "load_before": 0.1})


def test_bad_input_gives_one_line(xpnet, tmp_path: Path) -> None:
    missing = tmp_path / "nothing.mp4"
    assert "nothing.mp4: no such file" in one_line(xpnet("bench", "graph", "--clip", missing))
    assert "no such file" in one_line(xpnet("bench", "device", "--without-polyps", missing))
    scores = tmp_path / "scores.json"
    scores.write_text("[]")
    line = one_line(xpnet("bench", "device", "--scores", scores))
    assert "scores.json: not the scores of `evaluate --json`" in line
    assert "--split val: expected --data" in one_line(xpnet("bench", "device", "--split", "val"))
    np.testing.assert_equal(list(tmp_path.iterdir()), [scores])
    scores.write_text('{"dice": 1.0}')
    second = tmp_path / "b" / "scores.json"
    second.parent.mkdir()
    second.write_text('{"dice": 0.5}')
    line = one_line(xpnet("bench", "device", "--scores", scores, "--scores", second))
    assert f"--scores {second}: a second file of the name 'scores'" in line
