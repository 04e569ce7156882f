"""`xpnet run --platform deepstream` from settings to files, as far as it goes without a GPU.

NVIDIA's elements cannot be had here, so the platform's table has plain ones in their places, and a
probe does what nvinferserver does: it runs the model and leaves real NVIDIA metadata on the frame.
Settings, checks, description, graph, player, the DeepStream probe and the results are what ships.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from deepstream import platforms, run
from deepstream.description import Row, Table
from deepstream.nvds_probe import NvdsProbes
from deepstream.pixels import buffer_address, mapped_frame, timestamp_ns
from deepstream.run import RunSettings
from deepstream.source import open_clip
from tests.deepstream.nvds import buffers, pyds
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
        "inference.every": (
            Row("identity", "inference", probes=(("src", "leave_metadata"),)),
            Row("queue", "inflight"),
        ),
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
        """Beside the probe, what nvinferserver does to a frame."""

        def leave_metadata(self, _pad: Any, info: Any) -> None:
            pyds.surface_size = (self.height, self.width)
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

    monkeypatch.setitem(platforms.TABLES, platforms.DGPU, plain_table())
    monkeypatch.setattr(run, "check_machine", lambda: (platforms.DGPU, pyds))
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
