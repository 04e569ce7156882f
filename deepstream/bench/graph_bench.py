"""`xpnet bench graph`: times of the parts, frames a second, delay and copies of the graph."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tqdm import tqdm

from deepstream.bench.clips import parse_size, scaled_clip
from deepstream.bench.jobs import NETWORK, OVERLAY, Job
from deepstream.bench.parts import time_parts
from deepstream.bench.processes import run_jobs, serving
from deepstream.bench.tracer import read_tracer_log, tracer_environment
from deepstream.gstreamer import Gst, require_elements
from deepstream.io.source import open_clip
from deepstream.platforms.base import Model
from deepstream.platforms.gstreamer_platform import BACKENDS, GStreamerSettings, open_inference
from deepstream.probes.triton_probe import MODES
from xpnet.errors import UserError
from xpnet.host.cpu import measured_here
from xpnet.paths import DEMO_CLIP, MODEL_REPOSITORY
from xpnet.serving.model_config import DEFAULT_MODEL

log = logging.getLogger("xpnet.bench")

MEASUREMENTS = ("parts", "runs", "tracer", "delay", "copies")
"""What `--only` can choose."""
LONGEST_S = 600.0


@dataclass(frozen=True)
class GraphBenchSettings:
    """What is measured.

    Attributes:
        seconds: Duration of each clip; the delay is measured for as long.
        sizes: Names of sizes, see `deepstream.bench.clips.parse_size`.
        modes: Of `every` and `latest`.
        streams: Numbers of runs at once.
        clip: Where the frames come from; scaled to each size.
        backend: As of `xpnet run`.
        model: A model of the repository.
        repository: The model repository.
        only: Some of MEASUREMENTS; empty for all.

    Raises:
        UserError: A value is out of range.
    """

    seconds: float = 8.0
    sizes: tuple[str, ...] = ("720p", "1080p", "4k")
    modes: tuple[str, ...] = ("every", "latest")
    streams: tuple[int, ...] = (1, 2, 4)
    clip: Path = DEMO_CLIP
    backend: str = BACKENDS[0]
    model: str = DEFAULT_MODEL
    repository: Path = MODEL_REPOSITORY
    only: tuple[str, ...] = ()
    chosen: tuple[str, ...] = field(init=False, default=MEASUREMENTS)

    def __post_init__(self) -> None:
        if not 1 <= self.seconds <= LONGEST_S:
            raise UserError(f"--seconds {self.seconds:g}: expected 1 to {LONGEST_S:g}")
        for size in self.sizes:
            parse_size(size)
        _check_words("--modes", self.modes, tuple(MODES))
        _check_words("--only", self.only, MEASUREMENTS)
        for count in self.streams:
            if not 1 <= count <= 16:
                raise UserError(f"--streams {count}: expected 1 to 16")
        GStreamerSettings(self.backend)
        object.__setattr__(self, "chosen", self.only or MEASUREMENTS)


def _check_words(option: str, found: tuple[str, ...], known: tuple[str, ...]) -> None:
    for word in found:
        if word not in known:
            raise UserError(f"{option} {word}: expected {', '.join(known)}")


def bench_graph(settings: GraphBenchSettings) -> dict[str, Any]:
    """Measure the graph on plain GStreamer.

    Args:
        settings: What is measured.

    Returns:
        The report: `parts`, `runs`, `tracer`, `delay` and `copies` are lists of rows; `skipped`
        says what could not be measured, and why.

    Raises:
        UserError: The clip or the model cannot be used.
    """
    require_elements()
    source = open_clip(settings.clip, 25)
    if source.images:
        raise UserError(f"{settings.clip}: is a folder, expected a video file")
    report = {**describe_bench(settings.backend, settings.model), "clip": settings.clip.name}
    report |= {"seconds": settings.seconds, "skipped": []}
    report |= {name: [] for name in MEASUREMENTS}
    with tempfile.TemporaryDirectory(prefix="xpnet-bench-") as name:
        folder = Path(name)
        with serving(settings.backend, settings.model, settings.repository) as url:
            bench = _Bench(settings, folder, url, report)
            steps = [s for s in MEASUREMENTS if s in settings.chosen]
            with tqdm(total=len(settings.sizes) * len(steps), disable=None, unit=" steps") as bar:
                for size in settings.sizes:
                    bench.make_clip(size)
                    for step in steps:
                        bar.set_description(f"{size} {step}")
                        with bench.skipping(f"{step}, {size}"):
                            getattr(bench, step)(size)
                        bar.update()
                    bench.remove_clip(size)
    if not any(report[name] for name in MEASUREMENTS):
        raise UserError(f"nothing was measured: {report['skipped'][0]}")
    return report


def describe_bench(backend: str, model: str) -> dict[str, Any]:
    """Return what every report of a benchmark of the graph states.

    Args:
        backend: As of `xpnet run`.
        model: A model of the repository.
    """
    return {
        **measured_here(),
        "load_before": round(os.getloadavg()[0], 2),
        "gstreamer": ".".join(map(str, Gst.version()[:3])),
        "backend": backend,
        "model": model,
    }


class _Bench:
    """The measurements; each adds rows to the report."""

    def __init__(
        self, settings: GraphBenchSettings, folder: Path, url: str, report: dict[str, Any]
    ) -> None:
        self._settings, self._folder, self._url, self._report = settings, folder, url, report

    @contextmanager
    def skipping(self, name: str) -> Iterator[None]:
        """Let a measurement that this machine cannot do be one line of the report."""
        try:
            yield
        except UserError as error:
            log.warning("%s: skipped: %s", name, error)
            self._report["skipped"].append(f"{name}: {error}")

    def _clip(self, size: str) -> Path:
        return self._folder / f"{size}.mp4"

    def make_clip(self, size: str) -> None:
        """Write the clip of a size."""
        settings = self._settings
        scaled_clip(settings.clip, self._clip(size), parse_size(size), settings.seconds)

    def remove_clip(self, size: str) -> None:
        """Remove it, and what runs wrote."""
        for path in self._folder.glob("*.mp4"):
            path.unlink()

    def _job(self, kind: str, size: str, mode: str, **values: Any) -> Job:
        settings = self._settings
        return Job(
            kind, str(self._clip(size)), mode=mode, backend=settings.backend, url=self._url,
            model=settings.model, repository=str(settings.repository), **values,
        )  # fmt: skip

    def parts(self, size: str) -> None:
        """Time each part alone."""
        settings = self._settings
        model = Model(settings.repository, settings.model)
        with open_inference(GStreamerSettings(settings.backend, self._url), model) as (found, _):
            rounds = max(20, round(settings.seconds * 25))
            rows = time_parts(self._clip(size), found, rounds)
        self._add("parts", size, rows)

    def runs(self, size: str) -> None:
        """Run from file to file, one or several at once."""
        for mode in self._settings.modes:
            for count in self._settings.streams:
                outputs = [self._folder / f"out{number}.mp4" for number in range(count)]
                jobs = [self._job("parts", size, mode, output=str(path)) for path in outputs]
                results = run_jobs(jobs)
                first = {k: v for k, v in results[0].items() if k != "elements"}
                rates = [result["fps"] for result in results]
                row = {"mode": mode, "streams": count, "fps_each": rates}
                self._add("runs", size, [{**first, **row, "fps": round(sum(rates), 2)}])

    def tracer(self, size: str) -> None:
        """Run with GStreamer's latency tracer."""
        for mode in self._settings.modes:
            trace = self._folder / "tracer.log"
            job = self._job("parts", size, mode, output=str(self._folder / "out.mp4"))
            (result,) = run_jobs([job], tracer_environment(trace))
            rows = read_tracer_log(trace, result["elements"], result["frames"])
            if not rows:
                raise UserError("GStreamer's latency tracer wrote nothing")
            self._add("tracer", size, [{"mode": mode, "elements": rows}])

    def delay(self, size: str) -> None:
        """Measure the delay from a live source to the sink."""
        seconds = self._settings.seconds
        for mode in self._settings.modes:
            for chain in (OVERLAY, NETWORK):
                with self.skipping(f"delay, {size}, mode {mode}, {chain}"):
                    (result,) = run_jobs(
                        [self._job("glass", size, mode, chain=chain, seconds=seconds)]
                    )
                    self._add("delay", size, [{"mode": mode, "chain": chain, **result}])

    def copies(self, size: str) -> None:
        """Count the copies of a frame's pixels."""
        for mode in self._settings.modes:
            for kind, output in (("file", str(self._folder / "out.mp4")), ("none", "none")):
                (result,) = run_jobs([self._job("copies", size, mode, output=output)])
                self._add("copies", size, [{"mode": mode, "output": kind, **result}])

    def _add(self, name: str, size: str, rows: list[dict[str, Any]]) -> None:
        height, width = parse_size(size)
        self._report[name] += [{"size": size, "height": height, "width": width, **r} for r in rows]
