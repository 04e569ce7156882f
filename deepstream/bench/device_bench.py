"""`xpnet bench device`: the bench tests of 21 CFR 876.1520 (b)(2) in one report.

They are: the algorithm by itself; the picture, pixel by pixel, with the assistant and without; the
delay of the video due to the marks; the delay of the whole chain. Beside them: false marks.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from deepstream.bench.clips import parse_size, scaled_clip
from deepstream.bench.false_marks import BUILT_IN, count_false_marks, parse_part
from deepstream.bench.graph_bench import LONGEST_S, describe_bench
from deepstream.bench.jobs import NETWORK, OVERLAY, Job
from deepstream.bench.pixels import compare_pixels
from deepstream.bench.processes import run_jobs, serving
from deepstream.gstreamer import require_elements
from deepstream.io.source import open_clip
from deepstream.platforms.base import Model
from deepstream.platforms.gstreamer_platform import BACKENDS, GStreamerSettings, open_inference
from xpnet.card import read_model_card
from xpnet.errors import UserError
from xpnet.inference import Inference
from xpnet.paths import DEMO_CLIP, MODEL_REPOSITORY
from xpnet.serving.model_config import DEFAULT_MODEL

log = logging.getLogger("xpnet.bench")


@dataclass(frozen=True)
class DeviceBenchSettings:
    """What is tested.

    Attributes:
        scores: By data set: scores of `xpnet evaluate`; empty for those of the model's card.
        clip: The clip of the comparison of pixels and of the delays.
        without_polyps: Parts of clips without a polyp, see `false_marks.parse_part`.
        size: Size of the live picture whose delay is measured.
        seconds: Duration of each measurement of a delay.
        rounds: Runs with the assistant on and off, alternately.
        backend: As of `xpnet run`.
        model: A model of the repository.
        repository: The model repository.

    Raises:
        UserError: A value is out of range.
    """

    scores: Mapping[str, Mapping[str, Any]]
    clip: Path = DEMO_CLIP
    without_polyps: tuple[str, ...] = (BUILT_IN,)
    size: str = "1080p"
    seconds: float = 20.0
    rounds: int = 3
    backend: str = BACKENDS[0]
    model: str = DEFAULT_MODEL
    repository: Path = MODEL_REPOSITORY

    def __post_init__(self) -> None:
        if not 1 <= self.seconds <= LONGEST_S:
            raise UserError(f"--seconds {self.seconds:g}: expected 1 to {LONGEST_S:g}")
        if not 1 <= self.rounds <= 100:
            raise UserError(f"--rounds {self.rounds}: expected 1 to 100")
        parse_size(self.size)
        for text in self.without_polyps:
            parse_part(text)
        GStreamerSettings(self.backend)


def bench_device(settings: DeviceBenchSettings) -> dict[str, Any]:
    """Run all tests; one that this machine cannot do is skipped with a line.

    Args:
        settings: What is tested.

    Returns:
        The report: `algorithm`, `pixels`, `marks_delay`, `chain_delay`, `false_marks`, `skipped`.

    Raises:
        UserError: A clip or the model cannot be used.
    """
    require_elements()
    for path in (settings.clip, *(parse_part(text).path for text in settings.without_polyps)):
        if open_clip(path, 25).images:
            raise UserError(f"{path}: is a folder, expected a video file")
    card = read_model_card(settings.repository, settings.model)
    report: dict[str, Any] = {
        **describe_bench(settings.backend, settings.model),
        "clip": settings.clip.name,
        "size": settings.size,
        "seconds": settings.seconds,
        "threshold": card.threshold,
        "algorithm": _algorithm(settings.scores or card.scores),
        "algorithm_from": "given" if settings.scores else "card",
        "false_marks": [],
        "skipped": [],
    }
    serving_model = serving(settings.backend, settings.model, settings.repository)
    with serving_model as url, tempfile.TemporaryDirectory(prefix="xpnet-bench-") as folder:
        model = Model(settings.repository, settings.model)
        with open_inference(GStreamerSettings(settings.backend, url), model) as (inference, _):
            _test_pictures(settings, inference, report)
        clip = Path(folder, "live.mp4")
        with _skipping("the delays", report):
            scaled_clip(settings.clip, clip, parse_size(settings.size), settings.seconds)
            delays = _Delays(settings, clip, url)
            with _skipping("delay due to the marks", report):
                report["marks_delay"] = delays.of_marks()
            with _skipping("delay of the whole chain", report):
                report["chain_delay"] = [delays.of_chain(c) for c in (OVERLAY, NETWORK)]
    return report


@contextmanager
def _skipping(name: str, report: dict[str, Any]) -> Iterator[None]:
    try:
        yield
    except UserError as error:
        log.warning("%s: skipped: %s", name, error)
        report["skipped"].append(f"{name}: {error}")


def _test_pictures(
    settings: DeviceBenchSettings, inference: Inference, report: dict[str, Any]
) -> None:
    with _skipping("comparison of pixels", report):
        report["pixels"] = compare_pixels(settings.clip, inference)
    for text in settings.without_polyps:
        with _skipping(f"false marks, {text}", report):
            row = count_false_marks(parse_part(text), inference)
            report["false_marks"].append({**row, "built_in": text == BUILT_IN})


def _algorithm(scores: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the scores that the report shows, one row for each data set."""
    rows = []
    for name, found in scores.items():
        polyps = found.get("polyps", {}).get("all", {})
        row = {key: found.get(key) for key in ("frames", "dice", "iou", "false_alarm")}
        row |= {key: found.get(key) for key in ("false_alarm_frames", "intervals", "threshold")}
        row |= {key: polyps.get(key) for key in ("polyps", "found", "sensitivity", "false_areas")}
        rows.append({"data": name, **row})
    return rows


class _Delays:
    """Measures the delay of a live picture."""

    def __init__(self, settings: DeviceBenchSettings, clip: Path, url: str) -> None:
        self._settings, self._clip, self._url = settings, clip, url

    def _run(self, chain: str, enabled: bool) -> dict[str, Any]:
        settings = self._settings
        job = Job(
            "glass", str(self._clip), mode="latest", backend=settings.backend, url=self._url,
            model=settings.model, repository=str(settings.repository), seconds=settings.seconds,
            chain=chain, enabled=enabled, signs=False,
        )  # fmt: skip
        (result,) = run_jobs([job])
        if not result["glass_ms"]:
            raise UserError(f"no time code was read at the sink ({result['unreadable']} frames)")
        return result

    def of_marks(self) -> dict[str, Any]:
        """Run with the assistant on and off, alternately."""
        rounds = []
        for _ in range(self._settings.rounds):
            on, off = (self._run(OVERLAY, enabled) for enabled in (True, False))
            rounds.append({"on": on, "off": off})

        def middle(state: str, times: str) -> dict[str, float]:
            found = [one[state][times] for one in rounds]
            return {p: round(median(times[p] for times in found), 2) for p in PERCENTILES}

        added = [one["on"]["glass_ms"]["p50"] - one["off"]["glass_ms"]["p50"] for one in rounds]
        return {
            "rounds": rounds,
            "on_ms": middle("on", "glass_ms"),
            "off_ms": middle("off", "glass_ms"),
            "added_ms": round(median(added), 2),
            "overlay_ms": middle("on", "latency_ms"),
        }

    def of_chain(self, chain: str) -> dict[str, Any]:
        """Run once from the source to the end of a chain."""
        return {"chain": chain, **self._run(chain, enabled=True)}


PERCENTILES = ("p50", "p95", "p99")
