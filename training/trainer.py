"""The loop that all trainings share: steps, averaged weights, validation, checkpoints, resume.

Steps: read the frames; make the networks of the lesson; resume where there is a checkpoint; then,
for each step, let the lesson learn from one batch, and after each epoch validate, log and write a
checkpoint. A run that was stopped and started again ends with the same weights as one that was
not. Lightning Fabric places all of it on the CPU, one GPU or many.
"""

from __future__ import annotations

import io
import logging
import math
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any, Protocol

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel
from tqdm import tqdm

from training.data.dataset import EpochOrder, PolypDataset, steps_per_epoch, training_loader
from training.journal import Journal
from training.models.weight_files import git_commit, save_weights
from training.models.zoo import MODEL_NAMES, Network, pretraining
from training.settings import TrainSettings, as_dict, differences
from training.validation import validate
from xpnet.card import DataSource, new_card
from xpnet.errors import UserError
from xpnet.files import write_bytes
from xpnet.host.cpu import describe_machine

log = logging.getLogger("xpnet.training")


class Lesson(Protocol):
    """What one training does with a batch: its networks, optimisers and losses."""

    network: Network  # the one that is trained for use
    notes: dict[str, Any]  # for the card: what it started from, who taught it

    def step(self, step: int, frames: Tensor, masks: Tensor) -> dict[str, Tensor]:
        """Learns from one batch; the losses, each a scalar, `loss` the network's own.

        Raises:
            Diverged: a loss or a gradient is no number; the weights are as before the step.
        """

    def state_dict(self) -> dict[str, Any]:
        """Networks, optimisers and schedules."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The reverse."""


class Diverged(Exception):
    """A loss or a gradient is not finite."""


class Trainer:
    """One run of a lesson, and the folder that holds its files."""

    def __init__(
        self,
        fabric: Fabric,
        settings: TrainSettings,
        lesson: Lesson,
        train_set: PolypDataset,
        val_set: PolypDataset,
    ) -> None:
        self.fabric, self.settings, self.lesson = fabric, settings, lesson
        self.train_set, self.val_set = train_set, val_set
        self.folder = Path(settings.output)
        self.averaged = AveragedModel(
            lesson.network, multi_avg_fn=moving_average(settings.average), use_buffers=True
        )
        self.steps = steps_per_epoch(len(train_set), settings.batch, fabric.world_size)
        self.step = 0  # of the whole run
        self.seconds = 0.0  # spent on this epoch
        self.sums: dict[str, tuple[float, int]] = {}  # of each loss in this epoch, and how often
        self.best = -1.0

    def run(self) -> Path:
        """Trains to the last epoch, from the checkpoint where there is one.

        Returns the path of the averaged weights that were best on the validation set; beside them
        lie their card, `weights.json`, those of the last epoch, `last.*`, and `log.jsonl`.

        Raises:
            UserError: a loss is no number, the checkpoint belongs to other settings, data or
                teachers, or the disk is full; what was saved before stays.
        """
        self._resume()
        total = self.steps * self.settings.epochs
        first = self.fabric.is_global_zero
        with (
            Journal(self.folder, self.step // self.steps, enabled=first) as journal,
            tqdm(
                total=total, initial=self.step, unit=" steps", disable=None if first else True
            ) as bar,
        ):
            while self.step < total:
                losses = self._epoch(bar)
                self._end_of_epoch(journal, losses)
        self.fabric.barrier()  # the first process writes; the others must not run ahead of it
        return self.folder / "weights.safetensors"

    def _epoch(self, bar: tqdm) -> dict[str, float]:
        """The rest of the current epoch; the mean of each loss over the whole of it."""
        epoch, done = divmod(self.step, self.steps)
        s, fabric = self.settings, self.fabric
        bar.set_description(f"epoch {epoch + 1}/{s.epochs}")
        order = EpochOrder(
            len(self.train_set), s.seed, epoch, fabric.global_rank, fabric.world_size,
            skip=done * s.batch,
        )  # fmt: skip
        batches = fabric.setup_dataloaders(
            training_loader(self.train_set, order, epoch, s.batch, s.workers),
            use_distributed_sampler=False,
        )
        saved = last = time.monotonic()
        for frames, masks in batches:
            if self._agree(time.monotonic() - saved > s.checkpoint_minutes * 60):
                self._on_first(self._checkpoint)
                saved = time.monotonic()
            try:
                losses = self.lesson.step(
                    self.step, frames.to(memory_format=torch.channels_last), masks
                )
            except Diverged as error:
                raise UserError(
                    f"{error} at step {self.step % self.steps + 1} of {self.steps} in epoch "
                    f"{epoch + 1}: stopped, {self._last_good()}; a smaller learning_rate may help"
                ) from error
            if s.average:
                self.averaged.update_parameters(self.lesson.network)
            for name, loss in losses.items():
                total, times = self.sums.get(name, (0.0, 0))
                self.sums[name] = (total + float(loss), times + 1)
            self.step += 1
            now = time.monotonic()
            self.seconds, last = self.seconds + now - last, now
            bar.update()
            bar.set_postfix(loss=f"{float(losses['loss']):.3f}")
        return {name: total / times for name, (total, times) in self.sums.items()}

    def _end_of_epoch(self, journal: Journal, losses: dict[str, float]) -> None:
        start = time.monotonic()
        network: Any = self.averaged.module if self.settings.average else self.lesson.network
        scores, panel = validate(network, self.val_set, self.settings.batch, self.fabric)
        epoch = self.step // self.steps
        seconds = self.seconds + time.monotonic() - start
        self.seconds, self.sums = 0.0, {}
        better = scores["dice"] > self.best
        self.best = max(self.best, scores["dice"])

        def write() -> None:
            self._write_weights("last", network, scores, epoch)
            if better:
                self._write_weights("weights", network, scores, epoch)
            row = {"epoch": epoch, "seconds": round(seconds, 1), **losses}
            journal.write(row, scores, panel, left=(self.settings.epochs - epoch) * seconds)
            self._checkpoint()

        self._on_first(write)

    def _agree(self, due: bool) -> bool:
        """The first process's answer: clocks differ, and a checkpoint needs all at one step."""
        return self.fabric.broadcast(due) if self.fabric.world_size > 1 else due

    def _on_first(self, write: Callable[[], None]) -> None:
        """Writes on the first process; what fails there stops all, or they would wait for ever."""
        failed = ""
        if self.fabric.is_global_zero:
            try:
                write()
            except UserError as error:
                if self.fabric.world_size == 1:
                    raise
                failed = str(error)
        if self.fabric.world_size > 1 and (failed := self.fabric.broadcast(failed)):
            raise UserError(failed)

    def _write_weights(
        self, stem: str, network: nn.Module, scores: dict[str, float], epoch: int
    ) -> None:
        """The weights and their card."""
        save_weights(network, self.folder / f"{stem}.safetensors")
        s = self.settings
        card = new_card(
            MODEL_NAMES[s.network],
            s.network,
            sum(p.numel() for p in network.parameters()),
            s.size,
            licence="Apache-2.0",
            data=(
                DataSource(
                    s.data_name, "train", len(self.train_set), s.data_licence, s.data_reference
                ),
                *pretraining(s.network),
            ),
            git_commit=git_commit(),
            training={
                "settings": _public_settings(s),
                "epoch": epoch,
                "precision": self.fabric._precision.precision,
                "machine": describe_machine(),
                "date": date.today().isoformat(),
                "val_at_training_size": scores,
                **self.lesson.notes,
            },
        )
        card.write(self.folder / f"{stem}.json")

    def _checkpoint(self) -> None:
        """Everything that `_resume` needs, in one file, replaced at once.

        It is made in memory first: what fails on a full disk is then one plain write.
        """
        content = io.BytesIO()
        state = {
            "settings": as_dict(self.settings),
            "identity": self._identity(),
            "step": self.step,
            "seconds": self.seconds,
            "sums": self.sums,
            "best": self.best,
            "lesson": self.lesson.state_dict(),
            "averaged": self.averaged.state_dict(),
            "precision": self.fabric._precision.state_dict(),  # the scaler of 16-mixed
            "random": torch.get_rng_state(),
        }
        torch.save(state, content)
        write_bytes(self.folder / "checkpoint.pt", content.getvalue())

    def _resume(self) -> None:
        path = self.folder / "checkpoint.pt"
        if not path.exists():
            return
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
            changed = differences(self.settings, state["settings"])
            ours, theirs = self._identity(), state["identity"]
            changed += sorted(name for name in ours if ours[name] != theirs.get(name))
        except Exception as error:  # torch has a type for each way of being wrong
            raise UserError(f"{path}: not a checkpoint of this version: {error}") from error
        if changed:
            raise UserError(
                f"{path}: was made with other settings ({', '.join(changed)}); give another "
                "output folder, or remove it"
            )
        self.step, self.sums, self.best = state["step"], state["sums"], state["best"]
        self.seconds = state["seconds"]
        self.lesson.load_state_dict(state["lesson"])
        self.averaged.load_state_dict(state["averaged"])
        self.fabric._precision.load_state_dict(state["precision"])
        torch.set_rng_state(state["random"])
        log.info("resumed after step %d of %d", self.step, self.steps * self.settings.epochs)

    def _identity(self) -> dict[str, Any]:
        """What a checkpoint belongs to beside its settings, wherever the files lie."""
        return {
            "frames of the data": [self.train_set.digest, self.val_set.digest],
            "number of processes": self.fabric.world_size,
            "teachers": [t["sha256"] for t in self.lesson.notes.get("teachers", [])],
        }

    def _last_good(self) -> str:
        path = self.folder / "checkpoint.pt"
        return f"the last good checkpoint is {path}" if path.exists() else "before any checkpoint"


def check_finite(value: Tensor, what: str) -> None:
    """Raises Diverged, naming `what`, where a scalar is not finite."""
    number = float(value.detach())
    if not math.isfinite(number):
        raise Diverged(f"{what} is {number}")


def moving_average(decay: float) -> Callable[[Any, Any, Any], None]:
    """Exponential averaging that starts short: at first `decay` would hold on to the first weights.

    For torch's AveragedModel: tensors of the average, those of the network, and their count so far.
    """

    def update(averaged: list[Tensor], current: list[Tensor], count: Tensor) -> None:
        now = min(decay, (1 + float(count)) / (10 + float(count)))
        for ours, theirs in zip(averaged, current, strict=True):
            if ours.is_floating_point():
                ours.lerp_(theirs, 1 - now)
            else:
                ours.copy_(theirs)

    return update


def _public_settings(settings: TrainSettings) -> dict[str, Any]:
    """Without the paths, which mean nothing on another machine, and what the card says itself."""
    hidden = (
        "data", "data_name", "data_licence", "data_reference", "output", "init", "teachers",
    )  # fmt: skip
    return {k: v for k, v in as_dict(settings).items() if k not in hidden}
