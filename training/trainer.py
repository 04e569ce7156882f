"""The training loop of all methods: steps, averaged weights, validation, checkpoints, resume.

For each step the training method trains its networks on one batch. After each epoch the loop
validates, logs, and writes weights and a checkpoint. A run that is interrupted and resumed gives
the same weights as an uninterrupted one. Lightning Fabric runs it on a CPU, a GPU or several.
"""

from __future__ import annotations

import io
import logging
import time
from collections.abc import Callable, Iterable
from datetime import date
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from tqdm import tqdm

from training.captured_steps import CapturedSteps
from training.data.dataset import EpochSampler, PolypDataset, steps_per_epoch, training_loader
from training.data.device_batches import DeviceBatches
from training.methods.base import DivergedError, TrainingMethod
from training.models.weight_files import git_commit, save_weights
from training.models.zoo import model_name, pretraining_data
from training.moving_average import MovingAverage
from training.settings import TrainSettings, changed_settings
from training.training_log import TrainingLog
from training.validation import validate
from xpnet.card import DataSource, new_card
from xpnet.errors import UserError
from xpnet.files import write_bytes
from xpnet.host.cpu import describe_machine

log = logging.getLogger("xpnet.training")

NOT_IN_CARD = frozenset(
    {
        "data", "data_name", "data_licence", "data_reference", "more_data", "more_data_name",
        "more_data_licence", "more_data_reference", "output", "init", "teachers",
    }
)  # fmt: skip
"""Settings that the card omits: local paths, and what other fields of the card contain."""

PROGRESS_SECONDS = 1.0
"""Time between two updates of the progress bar's loss; each waits for the device."""
WINNING_ACCURACY = 0.95
"""Accuracy of the discriminator above which it teaches little; a warning is logged."""


class Trainer:
    """One run of a training method.

    Args:
        fabric: Devices and precision.
        settings: Settings of the training.
        method: Training method with its networks.
        train_set: Augmented frames with masks.
        val_set: Frames with masks, without augmentation.

    Attributes:
        averaged: Moving average of the network's weights.
        steps: Steps per epoch.
        step: Steps done in the run.
        seconds: Time spent on the current epoch.
        loss_sums: Sum and number of the values of each loss since the last validation; the sums
            are on the device.
        best_dice: Highest Dice on the validation set.
    """

    def __init__(
        self,
        fabric: Fabric,
        settings: TrainSettings,
        method: TrainingMethod,
        train_set: PolypDataset,
        val_set: PolypDataset,
    ) -> None:
        self.fabric, self.settings, self.method = fabric, settings, method
        self.train_set, self.val_set = train_set, val_set
        self.folder = Path(settings.output)
        self.averaged = MovingAverage(method.network, settings.average)
        self.steps = steps_per_epoch(len(train_set.epoch_frames), settings.batch, fabric.world_size)
        self.stepper = CapturedSteps(method, _can_capture(fabric, settings, method))
        self.device_batches = (
            DeviceBatches(train_set, settings.batch, fabric.device)
            if augments_on_device(settings, fabric.device)
            else None
        )
        self.step = 0
        self.seconds = 0.0
        self.loss_sums: dict[str, tuple[Tensor, int]] = {}
        self.best_dice = -1.0

    def run(self) -> Path:
        """Train to the last epoch, from the checkpoint if there is one.

        The folder then contains `weights.safetensors` (averaged weights of the best epoch) and
        `last.safetensors`, each with a card, `log.jsonl`, `checkpoint.pt` and `tensorboard/`.

        Returns:
            Path of `weights.safetensors`.

        Raises:
            UserError: A loss is not finite, the checkpoint belongs to other settings, data or
                teachers or is not seen by all machines, or the disk is full. Files written before
                are unchanged.
        """
        self._resume()
        self._check_same_step()
        total = self.steps * self.settings.epochs
        is_rank_zero = self.fabric.is_global_zero
        bar_disabled = None if is_rank_zero else True  # None: disabled unless stderr is a terminal
        with (
            TrainingLog(self.folder, self.step // self.steps, enabled=is_rank_zero) as training_log,
            tqdm(total=total, initial=self.step, unit=" steps", disable=bar_disabled) as bar,
        ):
            while self.step < total:
                self._train_epoch(bar)
                epoch = self.step // self.steps
                if epoch % self.settings.validate_every == 0 or self.step == total:
                    self._finish_epoch(training_log)
        self.fabric.barrier()  # rank 0 writes files; the other processes wait for it
        return self.folder / "weights.safetensors"

    def _train_epoch(self, bar: tqdm) -> None:
        """Train for the rest of the current epoch."""
        s = self.settings
        bar.set_description(f"epoch {self.step // self.steps + 1}/{s.epochs}")
        saved = shown = last = time.monotonic()
        for frames, masks in self.batches():
            if self._decide_on_rank_zero(time.monotonic() - saved > s.checkpoint_minutes * 60):
                self._check_finite()
                self._write_on_rank_zero(self._write_checkpoint)
                saved = time.monotonic()
            try:
                losses = self.stepper.step(
                    self.step, frames.to(memory_format=torch.channels_last), masks
                )
            except DivergedError as error:
                raise self._explain(error, self.step) from error
            if s.average:
                self.averaged.update()
            for name, loss in losses.items():
                total, count = self.loss_sums.get(name, (torch.zeros_like(loss), 0))
                self.loss_sums[name] = (total + loss, count + 1)
            self.step += 1
            now = time.monotonic()
            self.seconds, last = self.seconds + now - last, now
            bar.update()
            if now - shown > PROGRESS_SECONDS:
                shown = now
                bar.set_postfix(loss=f"{float(losses['loss']):.3f}")
        self._check_finite()

    def batches(self) -> Iterable[tuple[Tensor, Tensor]]:
        """Return the batches of the rest of the current epoch."""
        epoch, done = divmod(self.step, self.steps)
        s, fabric = self.settings, self.fabric
        sampler = EpochSampler(
            self.train_set.epoch_frames, s.seed, epoch, fabric.global_rank, fabric.world_size,
            skip=done * s.batch,
        )  # fmt: skip
        if self.device_batches is not None:
            return self.device_batches.epoch(sampler, epoch)
        return fabric.setup_dataloaders(  # type: ignore[no-any-return]
            training_loader(self.train_set, sampler, epoch, s.batch, s.workers),
            use_distributed_sampler=False,
        )

    def _check_finite(self) -> None:
        """Raise UserError if a step on a GPU was skipped because of its loss or gradient."""
        try:
            for network in self.method.networks:
                network.check_finite()
        except DivergedError as error:
            raise self._explain(error, self.step - 1) from error

    def _explain(self, error: DivergedError, step: int) -> UserError:
        """Return the error for the user; on a GPU, `step` is the last one of several."""
        epoch, number = divmod(step, self.steps)
        return UserError(
            f"{error} at step {number + 1} of {self.steps} in epoch {epoch + 1}; training stopped; "
            f"{self._describe_checkpoint()}; try a smaller learning_rate"
        )

    def _finish_epoch(self, training_log: TrainingLog) -> None:
        """Validate, then write weights, log and checkpoint."""
        losses = {name: float(total) / count for name, (total, count) in self.loss_sums.items()}
        _warn_if_discriminator_wins(losses)
        start = time.monotonic()
        network: Any = self.averaged.module if self.settings.average else self.method.network
        scores, panel = validate(network, self.val_set, self.settings.batch, self.fabric)
        epoch = self.step // self.steps
        seconds = self.seconds + time.monotonic() - start
        self.seconds, self.loss_sums = 0.0, {}
        is_best = scores["dice"] > self.best_dice
        self.best_dice = max(self.best_dice, scores["dice"])

        def write() -> None:
            self._write_weights("last", network, scores, epoch)
            if is_best:
                self._write_weights("weights", network, scores, epoch)
            row = {"epoch": epoch, "seconds": round(seconds, 1), **losses}
            left_s = (self.settings.epochs - epoch) * seconds / self.settings.validate_every
            training_log.write_epoch(row, scores, panel, left_s)
            self._write_checkpoint()

        self._write_on_rank_zero(write)

    def _decide_on_rank_zero(self, value: bool) -> bool:
        """Return rank 0's value: clocks differ, and all processes must checkpoint at one step."""
        return self.fabric.broadcast(value) if self.fabric.world_size > 1 else value

    def _write_on_rank_zero(self, write: Callable[[], None]) -> None:
        """Call `write` in the process of rank 0; raise its error in all, or they would wait."""
        failure = ""
        if self.fabric.is_global_zero:
            try:
                write()
            except UserError as error:
                if self.fabric.world_size == 1:
                    raise
                failure = str(error)
        if self.fabric.world_size > 1 and (failure := self.fabric.broadcast(failure)):
            raise UserError(failure)

    def _write_weights(
        self, stem: str, network: nn.Module, scores: dict[str, float], epoch: int
    ) -> None:
        """Write weights and their card."""
        save_weights(network, self.folder / f"{stem}.safetensors")
        s = self.settings
        card = new_card(
            model_name(s.network),
            s.network,
            sum(p.numel() for p in network.parameters()),
            s.size,
            licence="Apache-2.0",
            data=(
                *self._data_sources(),
                *(pretraining_data(s.network) if s.imagenet else ()),
            ),
            git_commit=git_commit(),
            training={
                "settings": s.model_dump(exclude=set(NOT_IN_CARD)),
                "epoch": epoch,
                "precision": self.fabric._precision.precision,
                "machine": self._describe_machine(),
                "date": date.today().isoformat(),
                "val_at_training_size": scores,
                **self.method.provenance,
            },
        )
        card.write(self.folder / f"{stem}.json")

    def _data_sources(self) -> list[DataSource]:
        """Return the data sets of the training frames, for the card."""
        s, more = self.settings, self.train_set.more_frames
        own = len(self.train_set) - more
        sources = [DataSource(s.data_name, "train", own, s.data_licence, s.data_reference)]
        if more:
            about = s.more_data_licence, s.more_data_reference
            sources.append(DataSource(s.more_data_name, "train", more, *about))
        return sources

    def _write_checkpoint(self) -> None:
        """Write everything that `_resume` needs to one file.

        The content is built in memory first, so a full disk can fail a plain write only.
        """
        content = io.BytesIO()
        state = {
            "settings": self.settings.model_dump(),
            "fingerprint": self._fingerprint(),
            "step": self.step,
            "seconds": self.seconds,
            "loss_sums": self.loss_sums,
            "best_dice": self.best_dice,
            "method": self.method.state_dict(),
            "averaged": self.averaged.state_dict(),
            "precision": self.fabric._precision.state_dict(),  # the gradient scaler of 16-mixed
            "random": torch.get_rng_state(),
            "random_of_device": (
                torch.cuda.get_rng_state(self.fabric.device) if self._is_on_gpu else None
            ),
        }
        torch.save(state, content)
        write_bytes(self.folder / "checkpoint.pt", content.getvalue())

    def _resume(self) -> None:
        """Restore the state of the checkpoint, if there is one."""
        path = self.folder / "checkpoint.pt"
        if not path.exists():
            return
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
            changed = changed_settings(self.settings, state["settings"])
            ours, theirs = self._fingerprint(), state["fingerprint"]
            changed += sorted(name for name in ours if ours[name] != theirs.get(name))
        except Exception as error:  # torch raises many types for a damaged file
            raise UserError(f"{path}: not a checkpoint of this version: {error}") from error
        if changed:
            raise UserError(
                f"{path}: was written with other settings ({', '.join(changed)}); choose another "
                "output folder, or delete the checkpoint"
            )
        self.step = state["step"]
        self.loss_sums = {
            name: (total.to(self.fabric.device), count)
            for name, (total, count) in state["loss_sums"].items()
        }
        self.seconds, self.best_dice = state["seconds"], state["best_dice"]
        self.method.load_state_dict(state["method"])
        self.averaged.load_state_dict(state["averaged"])
        self.fabric._precision.load_state_dict(state["precision"])
        torch.set_rng_state(state["random"])
        if self._is_on_gpu and state["random_of_device"] is not None:
            torch.cuda.set_rng_state(state["random_of_device"], self.fabric.device)
        log.info("resumed after step %d of %d", self.step, self.steps * self.settings.epochs)

    def _check_same_step(self) -> None:
        """Check that all processes resume at one step; machines may not share the folder."""
        if self.fabric.world_size == 1:
            return
        steps = torch.as_tensor(self.fabric.all_gather(torch.tensor(self.step)))
        if steps.unique().numel() > 1:
            raise UserError(
                f"{self.folder}: the processes would resume after steps "
                f"{', '.join(str(step) for step in steps.tolist())}: expected an output folder "
                "that all machines share"
            )

    def _fingerprint(self) -> dict[str, Any]:
        """Return what a resumed run must have in common with its checkpoint beside the settings."""
        return {
            "frames of the data": [self.train_set.digest, self.val_set.digest],
            "number of processes": self.fabric.world_size,
            "teachers": [t["sha256"] for t in self.method.provenance.get("teachers", [])],
        }

    @property
    def _is_on_gpu(self) -> bool:
        return self.fabric.device.type == "cuda"

    def _describe_machine(self) -> str:
        """Return the processor, and the GPU that trained."""
        if not self._is_on_gpu:
            return describe_machine()
        return f"{torch.cuda.get_device_name(self.fabric.device)}; {describe_machine()}"

    def _describe_checkpoint(self) -> str:
        path = self.folder / "checkpoint.pt"
        return f"the last checkpoint is {path}" if path.exists() else "there is no checkpoint"


def augments_on_device(settings: TrainSettings, device: torch.device) -> bool:
    """Return whether frames are augmented on the device rather than in worker processes."""
    if settings.augment_on == "auto":
        return device.type == "cuda"
    return settings.augment_on == "device"


def _can_capture(fabric: Fabric, settings: TrainSettings, method: TrainingMethod) -> bool:
    """Return whether steps can be replayed as CUDA graphs."""
    return (
        settings.cuda_graphs
        and fabric.world_size == 1
        and all(network.is_asynchronous for network in method.networks)
    )


def _warn_if_discriminator_wins(losses: dict[str, float]) -> None:
    accuracy = losses.get("discriminator_accuracy", 0.0)
    if accuracy > WINNING_ACCURACY:
        log.warning(
            "the discriminator tells student from teacher in %.0f %% of the frames, so the student "
            "learns little from it; see r1, spectral_norm, tap_norm, discriminator_noise, "
            "discriminator_pause and discriminator_learning_rate",
            100 * accuracy,
        )
