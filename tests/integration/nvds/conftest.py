"""Runs of DeepStream's graph without a GPU, from settings to files.

Plain elements replace NVIDIA's in the platform's table, and a probe does what nvinferserver does:
it runs the model and attaches real NVIDIA metadata to the frame. Settings, checks, description,
graph, player, the DeepStream probe and the results are the released code.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deepstream.graph import element_tables
from deepstream.graph.description import ElementSpec, Table
from deepstream.platforms import deepstream_platform
from deepstream.platforms.deepstream_platform import DeepStreamSettings
from deepstream.probes.nvds_probe import NvdsProbes
from deepstream.probes.pixels import buffer_address, mapped_frame, timestamp_ns
from deepstream.probes.video_frame import read_format
from deepstream.run import RunSettings
from tests.conftest import put_plan
from tests.deepstream.nvds import buffers, pyds
from xpnet.frames import frame_to_tensor
from xpnet.paths import MODEL_REPOSITORY
from xpnet.serving.onnx_inference import OnnxInference

MODEL = "xpnet_lite"
RGBA = "video/x-raw,format=RGBA,width={width},height={height},pixel-aspect-ratio=1/1"


def plain_table() -> Table:
    """Return DeepStream's table with plain elements in place of NVIDIA's."""
    plain, nvidia = element_tables.GSTREAMER_TABLE, element_tables.DEEPSTREAM_TABLE
    (overlay, drawn) = nvidia["overlay"]
    return {
        **nvidia,
        "source.file": plain["source.file"],
        # NVIDIA's memory is RGBA where the probe draws.
        "frame": (*plain["frame"][:-1], replace(plain["frame"][-1], properties={"caps": RGBA})),
        # As on a GPU, frames are kept behind an element of their own.
        "source.rtsp": (*plain["source.rtsp"], ElementSpec("identity", "held")),
        "source.live-file": (*plain["source.live-file"], ElementSpec("identity", "held")),
        "inference.every": (
            ElementSpec("identity", "inference", probes=(("src", "attach_metadata"),)),
            ElementSpec("queue", "inflight"),
        ),
        "inference.latest": (
            ElementSpec("identity", "inference", probes=(("src", "attach_metadata"),)),
            ElementSpec("queue", "inflight"),
        ),
        "inference.none": (
            ElementSpec("identity", "muxed", probes=(("src", "attach_no_result"),)),
            ElementSpec("queue", "inflight"),
        ),
        "encoder.software-live": plain["encoder.software-live"],
        "overlay": (ElementSpec("identity", "overlay", probes=overlay.probes), drawn),
        "encoder.software": plain["encoder.software"],
    }


@pytest.fixture
def settings(tmp_path: Path, short_clip: Path) -> RunSettings:
    folder = tmp_path / "models" / MODEL
    shutil.copytree(MODEL_REPOSITORY / MODEL, folder)
    put_plan(folder)
    return RunSettings(
        short_clip, tmp_path / "o.mp4", platform=DeepStreamSettings(), model=MODEL,
        repository=tmp_path / "models", polyps=tmp_path / "polyps.jsonl",
    )  # fmt: skip


def with_platform(settings: RunSettings, **changes: Any) -> RunSettings:
    """Return the settings with other settings of DeepStream."""
    return replace(settings, platform=DeepStreamSettings(**changes))


@pytest.fixture
def frames_with_result(monkeypatch: pytest.MonkeyPatch, in_process: OnnxInference) -> list[int]:
    """Install the replacements; frames get no result once the counter reaches zero."""
    limit = [10**9]

    class WithServer(NvdsProbes):
        """The released probe, and nvinferserver's part (GstNvInferServerImpl::processFullFrame)."""

        def attach_metadata(self, pad: Any, info: Any) -> None:
            self.passed = getattr(self, "passed", -1) + 1
            if self.passed % (self._masks.interval + 1) > 0:
                self.attach_no_result(pad, info)
                return
            pyds.surface_size, pyds.surface_pitch = (self.height, self.width), 4 * self.width
            size = self.card.input
            with mapped_frame(info, read_format(pad.get_current_caps()), write=True) as frame:
                tensor = frame_to_tensor(frame.arrays[0], size.height, size.width)
            found = in_process.submit(tensor).result()
            if self.probabilities:
                result = buffers.tensor(found)
            else:
                classes = np.where(found > self.card.threshold, 0, -1).astype(np.int32)
                result = buffers.segmentation(classes)
            limit[0] -= 1
            stamp = timestamp_ns(info) or 0
            buffers.attach(buffer_address(info), [result if limit[0] >= 0 else None], stamp)

        def attach_no_result(self, _pad: Any, info: Any) -> None:
            """Attach the metadata of nvstreammux only."""
            buffers.attach(buffer_address(info), [None], timestamp_ns(info) or 0)

    monkeypatch.setitem(element_tables.TABLES, element_tables.DGPU, plain_table())
    monkeypatch.setattr(deepstream_platform, "check_deepstream", lambda: None)
    monkeypatch.setattr(deepstream_platform, "is_jetson", lambda: False)
    monkeypatch.setattr(deepstream_platform, "load_pyds", lambda: pyds)
    monkeypatch.setattr(deepstream_platform, "NvdsProbes", WithServer)
    return limit


def fail_inference(monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    """Make inference fail as nvinferserver does: an error on the bus, and no further frames."""
    table = plain_table()
    broken = replace(table["inference.every"][0], properties={"error-after": str(after)})
    table = {**table, "inference.every": (broken, *table["inference.every"][1:])}
    monkeypatch.setitem(element_tables.TABLES, element_tables.DGPU, table)
