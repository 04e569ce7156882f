"""Mode `latest`: whatever inference does, every frame is shown, with a recent mask or none."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from deepstream.control.appearance import Appearance
from deepstream.control.controls import Controls
from deepstream.graph.pipeline import describe_graph
from deepstream.io.output import parse_output
from deepstream.io.source import open_clip
from deepstream.platforms.base import Model
from deepstream.platforms.gstreamer_platform import GStreamerSettings, open_inference
from deepstream.player import Ending, play
from deepstream.probes.triton_probe import LatestProbes, check_result
from deepstream.statistics import RunStatistics
from tests.conftest import video_frames
from tests.integration.inference_doubles import Faulty, FixedMap
from tests.integration.signs import has_notice
from xpnet.card import Card
from xpnet.frames import Segmentation
from xpnet.host.processes import NICENESS, descendants
from xpnet.inference import InferenceError
from xpnet.overlay import OverlayStyle
from xpnet.paths import MODEL_REPOSITORY
from xpnet.serving.model_config import DEFAULT_MODEL

pytestmark = pytest.mark.integration

BLUE = OverlayStyle((0, 0, 255), 1.0)


def played(
    clip: Path, output: Path, inference: FixedMap, seen: list[Segmentation] | None = None
) -> RunStatistics:
    """Play a clip in mode `latest` with signs and return what happened."""
    source, target = open_clip(clip, 0), parse_output(output)
    probes = LatestProbes(
        source.height, source.width, inference, Controls(Appearance(style=BLUE, signs=True)),
        on_mask=None if seen is None else seen.append,
    )  # fmt: skip
    outcome = play(
        source, target, probes,
        lambda sink, _: describe_graph("gstreamer", source, target.kind, sink, "latest"),
    )  # fmt: skip
    assert outcome.ending is Ending.COMPLETE
    assert probes.statistics.probe_errors == 0
    return probes.statistics


def is_marked(frame: np.ndarray) -> bool:
    """Return whether the fixed circle is drawn in the middle."""
    blue, _, red = frame[frame.shape[0] // 2, frame.shape[1] // 2].astype(int)
    return bool(blue - red > 150)


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("raise", "no server"),
        ("nan", "expected probabilities of 0 to 1"),
        ("size", "a result of (8, 8), expected (256, 256): wrong model?"),
        ("slow", ""),
    ],
)
def test_faults_cost_masks_and_no_frames(
    fault: str, reason: str, card: Card, short_clip: Path, tmp_path: Path
) -> None:
    inference = Faulty(card, fault, first=5, last=12 if fault != "slow" else 7)
    statistics = played(short_clip, tmp_path / "o.mkv", inference)
    assert reason in statistics.inference_failure
    frames = video_frames(tmp_path / "o.mkv")
    assert len(frames) == statistics.frames == 40
    marked = [is_marked(frame) for frame in frames]
    assert [has_notice(frame) for frame in frames] == [not m for m in marked]
    assert any(marked[1:6])
    assert (
        1 <= marked[5:35].count(False) == statistics.frames_without_mask - marked[:5].count(False)
    )
    assert all(marked[36:])  # it recovers by itself


def test_inference_that_hangs_delays_no_frame(
    card: Card, short_clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deepstream.probes.triton_probe.LATEST_TIMEOUT_S", 0.8)
    inference = Faulty(card, "hang", first=5)
    statistics = played(short_clip, tmp_path / "o.mkv", inference)
    marked = [is_marked(frame) for frame in video_frames(tmp_path / "o.mkv")]
    assert len(marked) == 40
    # The sixth frame has no result; its predecessor's mask is shown for 150 ms: four frames.
    assert not any(marked[10:])
    assert inference.abandoned == ["no result within 0.8 s"] * len(inference.abandoned) != []
    # Had each frame waited for inference, the last one would have been half a minute late.
    assert max(statistics.lateness_s) < 5


def test_a_mask_is_shown_on_frames_that_are_younger_than_the_limit(
    card: Card, short_clip: Path, tmp_path: Path
) -> None:
    seen: list[Segmentation] = []
    statistics = played(short_clip, tmp_path / "o.mkv", FixedMap(card), seen)
    assert len(seen) + statistics.frames_without_mask == 40
    assert max(statistics.mask_age_s) <= 0.15
    assert {s.mask.shape for s in seen} == {(404, 720)}


@pytest.mark.parametrize("picture_first", [True, False])
def test_a_server_of_its_own_leaves_the_cores_to_the_picture(picture_first: bool) -> None:
    own = os.getpriority(os.PRIO_PROCESS, 0)
    others = set(descendants(os.getpid()))
    model = Model(MODEL_REPOSITORY, DEFAULT_MODEL)
    with open_inference(GStreamerSettings(), model, picture_first):
        started = [
            number
            for number in set(descendants(os.getpid())) - others
            if Path(f"/proc/{number}/comm").read_text().startswith("triton")
        ]
        found = {os.getpriority(os.PRIO_PROCESS, number) for number in started}
    assert len(started) >= 2  # the server, and its stub, which does the work
    assert found == {max(own, NICENESS) if picture_first else own}


@pytest.mark.parametrize("value", [np.nan, np.inf, -0.1, 1.1])
def test_values_that_are_no_probabilities_are_refused(card: Card, value: float) -> None:
    found = FixedMap(card).found()
    check_result(found, card)
    found[3, 4] = value
    with pytest.raises(InferenceError, match=r"expected probabilities of 0 to 1"):
        check_result(found, card)
