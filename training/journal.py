"""The record of a training: a line an epoch in log.jsonl, curves and panels for TensorBoard."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from types import TracebackType

import torch
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from xpnet.errors import UserError
from xpnet.files import write_text

log = logging.getLogger("xpnet.training")


class Journal:
    """Writes what a run does, from the epoch after `done`; nothing but on the first process.

    Rows of later epochs, of a run that was killed between its log and its checkpoint, are dropped.

    Raises:
        UserError: the disk is full, or the folder not writable; here and in `write`.
    """

    def __init__(self, folder: Path, done: int, enabled: bool) -> None:
        self.folder = folder
        self.done = done
        self.enabled = enabled

    def __enter__(self) -> Journal:
        if self.enabled:
            path = self.folder / "log.jsonl"
            if path.exists():
                lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
                write_text(path, "".join(lines[: self.done]))
            self.board = SummaryWriter(str(self.folder / "tensorboard"), purge_step=self.done + 1)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.enabled:
            self.board.close()

    def write(
        self, row: dict[str, float], scores: dict[str, float], panel: Tensor, left: float
    ) -> None:
        """One epoch: its losses, the validation, and sample frames; `left` in seconds.

        `panel` is 3 x H x W in [0, 1].
        """
        whole = {**row, **{f"val_{name}": value for name, value in scores.items()}}
        epoch = int(row["epoch"])
        try:
            with (self.folder / "log.jsonl").open("a", encoding="utf-8") as file:
                file.write(json.dumps(whole) + "\n")
            for name, value in whole.items():
                if name != "epoch":
                    self.board.add_scalar(name, value, epoch)
            self.board.add_image("frame, truth, probability", (panel * 255).to(torch.uint8), epoch)
            self.board.flush()
        except OSError as error:
            raise UserError(f"{self.folder}: cannot be written: {error.strerror}") from error
        log.info(
            "epoch %d: loss %.3f, val dice %.3f, %.0f s; about %.0f min left",
            epoch,
            row["loss"],
            scores["dice"],
            row["seconds"],
            left / 60,
        )
