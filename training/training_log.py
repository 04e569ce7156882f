"""Log of a training: one line per epoch in log.jsonl, curves and panels for TensorBoard."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from types import TracebackType

import torch
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from training.log_file import read_log_file
from xpnet.errors import UserError
from xpnet.files import write_text

log = logging.getLogger("xpnet.training")


class TrainingLog:
    """Writer of the log; a context manager.

    A run that is killed between its log and its checkpoint repeats an epoch. The lines of epochs
    after `epochs_done` are therefore removed on entry.

    Args:
        folder: Output folder of the run.
        epochs_done: Number of epochs that the checkpoint contains.
        enabled: Whether to write; True in the process of rank 0 only.
    """

    def __init__(self, folder: Path, epochs_done: int, enabled: bool) -> None:
        self.folder = folder
        self.epochs_done = epochs_done
        self.enabled = enabled

    def __enter__(self) -> TrainingLog:
        if self.enabled:
            path = self.folder / "log.jsonl"
            if path.exists():
                kept = [row for row in read_log_file(path) if row["epoch"] <= self.epochs_done]
                write_text(path, "".join(json.dumps(row) + "\n" for row in kept))
            folder = str(self.folder / "tensorboard")
            self.tensorboard = SummaryWriter(folder, purge_step=self.epochs_done + 1)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.enabled:
            self.tensorboard.close()

    def write_epoch(
        self, row: dict[str, float], scores: dict[str, float], panel: Tensor, left_s: float
    ) -> None:
        """Write one epoch.

        Args:
            row: `epoch`, `seconds` and the losses.
            scores: Scores on the validation set.
            panel: Sample frames, 3 x H x W in [0, 1].
            left_s: Estimated time to the end of the training, in seconds.

        Raises:
            UserError: The disk is full, or the folder is not writable.
        """
        values = {**row, **{f"val_{name}": value for name, value in scores.items()}}
        epoch = int(row["epoch"])
        image = (panel * 255).to(torch.uint8)
        try:
            with (self.folder / "log.jsonl").open("a", encoding="utf-8") as file:
                file.write(json.dumps(values) + "\n")
            for name, value in values.items():
                if name != "epoch":
                    self.tensorboard.add_scalar(name, value, epoch)
            self.tensorboard.add_image("frame, truth, probability", image, epoch)
            self.tensorboard.flush()
        except OSError as error:
            raise UserError(f"{self.folder}: cannot be written: {error.strerror}") from error
        log.info(
            "epoch %d: loss %.3f, val dice %.3f, %.0f s; about %.0f min left",
            epoch,
            row["loss"],
            scores["dice"],
            row["seconds"],
            left_s / 60,
        )
