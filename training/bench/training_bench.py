"""`xpnet bench training`: the time of a training step by part, and the rate of the whole.

The parts are measured from outside, on a training of a few steps: the trainer has no code for it.
On a GPU each part ends with a synchronisation, and nothing is replayed as a CUDA graph. The rate of
the whole is measured as `xpnet train` runs, without either.
"""

from __future__ import annotations

import logging
import math
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from training.captured_steps import WARM_UP
from training.jobs import prepare
from training.settings import DistillSettings, TrainSettings
from training.trainer import Trainer
from training.validation import validate
from xpnet.host.cpu import measured_here
from xpnet.images import sample_frames

log = logging.getLogger("xpnet.bench")

PARTS = ("data", "forward", "backward", "optimiser", "averaging")
"""In a step's order. `forward` includes teachers, discriminator and losses; `optimiser` includes
the clipping of the gradients."""
MANY = 10_000
MADE_FRAMES = 48
"""Frames of the data set that `make_data` makes: enough for two steps of each kind of settings."""


def bench_training(jobs: dict[str, TrainSettings], steps: int) -> dict[str, Any]:
    """Measure some steps of trainings, one after the other.

    Args:
        jobs: Settings by name; their output folder is not used.
        steps: Steps to measure of each.

    Returns:
        The machine, the date, `torch`, `steps`, and `rows` as `measure` returns them.

    Raises:
        UserError: As training.jobs.prepare.
    """
    rows = []
    for name, settings in jobs.items():
        rows.append({"job": name, **measure(settings, steps)})
        log.info("%s: %.1f frames/s", name, rows[-1]["frames_per_s"])
    return {**measured_here(), "torch": torch.__version__, "steps": steps, "rows": rows}


def measure(settings: TrainSettings, steps: int) -> dict[str, Any]:
    """Measure some steps of one training, whose weights are discarded.

    Args:
        settings: Settings of the training; the output folder is not used.
        steps: Steps to measure.

    Returns:
        What was trained (`network`, `size`, `batch`, `workers`, `device`, `precision`);
        `frames_per_s` of the steps as they run; `data_frames_per_s` of the data alone; `parts_ms`,
        the mean time in a step of each of PARTS; `validation_frames_per_s`; and `epoch_s`, the time
        of an epoch with its validation.

    Raises:
        UserError: As training.jobs.prepare.
    """
    cycle = 1
    if isinstance(settings, DistillSettings) and settings.adversarial > 0:
        cycle = settings.adversarial_every  # only one step of so many uses the discriminator
    count = math.ceil(steps / cycle) * cycle
    with tempfile.TemporaryDirectory(prefix="xpnet-bench-") as folder:
        # Its schedule must not end while it is measured.
        trainer = prepare(settings.model_copy(update={"output": folder, "epochs": MANY}))
        device = trainer.fabric.device
        teachers = len(getattr(settings, "teachers", ())) or 1
        warm_up = (WARM_UP + 2) * cycle * teachers if device.type == "cuda" else 1
        _run(trainer, warm_up, _Watch(device))
        whole = _run(trainer, count, None)
        parts = _measure_parts(trainer, count)
        data = _measure_data(trainer, count)
        validation = _measure_validation(trainer)
    # A set with fewer frames than a batch has one step of all of them.
    own_frames = len(trainer.train_set.epoch_frames) // trainer.fabric.world_size
    frames = min(settings.batch, own_frames) * count
    return {
        "network": settings.network,
        "size": settings.size,
        "batch": settings.batch,
        "workers": settings.workers,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "precision": trainer.fabric._precision.precision,
        "frames_per_s": round(frames / whole, 2),
        "data_frames_per_s": round(frames / data, 1),
        "parts_ms": {name: round(1000 * parts[name] / count, 2) for name in PARTS},
        "validation_frames_per_s": round(len(trainer.val_set) / validation, 1),
        "epoch_s": round(trainer.steps * whole / count + validation, 2),
    }


def as_markdown(found: dict[str, Any]) -> str:
    """Return the report of `bench_training` as a table.

    Args:
        found: The report.
    """
    parts = [f"{name} ms" for name in PARTS]
    head = ["training", "px", "batch", "frames/s", *parts, "data alone, frames/s", "waits for data"]
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for row in found["rows"]:
        times = row["parts_ms"]
        cells = [
            row["job"], str(row["size"]), str(row["batch"]), f"{row['frames_per_s']:.1f}",
            *(f"{times[name]:.1f}" for name in PARTS), f"{row['data_frames_per_s']:.0f}",
            f"{times['data'] / sum(times.values()):.1%}",
        ]  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    devices = ", ".join(dict.fromkeys(f"{r['device']} {r['precision']}" for r in found["rows"]))
    lines += [
        "",
        f"Mean of {found['steps']} steps. {devices}; {found['cores']} cores of {found['machine']}; "
        f"torch {found['torch']}; {found['date']}.",
    ]
    return "\n".join(lines) + "\n"


def make_data(folder: Path, clip: Path) -> Path:
    """Write a data set for a machine that has none, and return its folder.

    The frames are a clip's, and every mask is a disc: no time depends on what a mask shows.

    Args:
        folder: An empty folder.
        clip: The clip.

    Raises:
        UserError: The clip cannot be read.
    """
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True)
    rows = ["stem,split"]
    for number, frame in enumerate(sample_frames(clip, MADE_FRAMES)):
        height, width = frame.shape[:2]
        rows_away, columns_away = np.ogrid[:height, :width]
        radius = min(height, width) // 5
        distance = (rows_away - height // 2) ** 2 + (columns_away - width // 2) ** 2
        mask = np.where(distance < radius**2, 255, 0).astype(np.uint8)
        cv2.imwrite(str(folder / "images" / f"{number}.jpg"), frame[..., ::-1])
        cv2.imwrite(str(folder / "masks" / f"{number}.png"), mask)
        rows.append(f"{number},{'val' if number % 6 == 5 else 'train'}")
    (folder / "index.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return folder


class _Watch:
    """Sums the time of calls by name; on a GPU it waits for each."""

    def __init__(self, device: torch.device) -> None:
        self._is_gpu = device.type == "cuda"
        self.seconds: defaultdict[str, float] = defaultdict(float)

    def now(self) -> float:
        if self._is_gpu:
            torch.cuda.synchronize()
        return time.perf_counter()

    def timed(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function that calls `call` and adds its time to `name`."""

        def measured(*args: Any, **kwargs: Any) -> Any:
            start = self.now()
            try:
                return call(*args, **kwargs)
            finally:
                self.seconds[name] += self.now() - start

        return measured


def _endless(trainer: Trainer) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the batches of one epoch after the other; the caller counts the trainer's steps."""
    while True:
        yield from trainer.batches()


def _run(trainer: Trainer, count: int, watch: _Watch | None) -> float:
    """Train for some steps and return their time in seconds, with that of their data."""
    whole = watch or _Watch(trainer.fabric.device)
    batches = _endless(trainer)
    next(batches)  # workers start
    start = whole.now()
    for _ in range(count):
        frames, masks = watch.timed("data", next)(batches) if watch else next(batches)
        trainer.stepper.step(trainer.step, frames.to(memory_format=torch.channels_last), masks)
        if trainer.settings.average:
            trainer.averaged.update()
        trainer.step += 1
    return whole.now() - start


def _measure_parts(trainer: Trainer, count: int) -> dict[str, float]:
    """Return the seconds of each of PARTS in some steps, none of them replayed."""
    watch = _Watch(trainer.fabric.device)
    method, fabric = trainer.method, trainer.fabric
    replaced: list[tuple[Any, str, str]] = [
        (fabric, "backward", "backward"),
        (fabric, "clip_gradients", "optimiser"),
        *((network.optimiser, "step", "optimiser") for network in method.networks),
        (method, "compute", "compute"),
        (trainer.averaged, "update", "averaging"),
    ]
    stream, trainer.stepper.stream = trainer.stepper.stream, None  # nothing is captured without it
    for owner, name, part in replaced:
        setattr(owner, name, watch.timed(part, getattr(owner, name)))
    _run(trainer, count, watch)
    for owner, name, _ in replaced:
        delattr(owner, name)
    trainer.stepper.stream = stream
    seconds = dict(watch.seconds)
    seconds["forward"] = seconds["compute"] - seconds["backward"] - seconds["optimiser"]
    return {name: seconds.get(name, 0.0) for name in PARTS}


def _measure_data(trainer: Trainer, count: int) -> float:
    """Return the seconds in which the data of some steps are made, without a training."""
    batches = _endless(trainer)
    watch = _Watch(trainer.fabric.device)
    next(batches)
    start = watch.now()
    for _ in range(count):
        next(batches)
    return watch.now() - start


def _measure_validation(trainer: Trainer) -> float:
    """Return the seconds of one validation."""
    network: Any = trainer.averaged.module if trainer.settings.average else trainer.method.network
    watch = _Watch(trainer.fabric.device)
    start = watch.now()
    validate(network, trainer.val_set, trainer.settings.batch, trainer.fabric)
    return watch.now() - start
