"""Supervised training of one network with the DV loss.

Steps: read the settings and the frames; make or resume network, optimiser and schedule; for each
epoch, train, average the weights, validate, write a checkpoint; keep the averaged weights of the
best epoch, with their card. A run that was stopped and started again ends with the same weights
as one that was not.
"""

from __future__ import annotations

import json
import logging
import subprocess
import time
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader
from tqdm import tqdm

from training.dataset import PolypDataset, training_loader
from training.losses import LOSSES
from training.metrics import MetricSums
from training.pairs import find_pairs
from training.pretrained import PretrainedUNet
from training.settings import TrainSettings, as_dict
from training.zoo import NETWORKS, Network
from xpnet.card import THRESHOLD, DataSource, new_card, read_card
from xpnet.errors import UserError
from xpnet.files import replacing
from xpnet.frames import probabilities_to_mask
from xpnet.machine import cpu_flags, describe_machine

log = logging.getLogger("xpnet.training")


class Trainer:
    """One run: its network, optimiser and schedule, and the folder that holds its files."""

    def __init__(self, settings: TrainSettings) -> None:
        if settings.network not in NETWORKS:
            raise UserError(f"network '{settings.network}': known are {', '.join(NETWORKS)}")
        if settings.size % 16 or settings.size < 16:
            raise UserError(f"size {settings.size}: expected a multiple of 16")
        self.settings = settings
        self.folder = Path(settings.output)
        self.folder.mkdir(parents=True, exist_ok=True)
        torch.manual_seed(settings.seed)
        self.train_set, self.val_set = _datasets(settings)
        self.network = NETWORKS[settings.network]().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if isinstance(self.network, PretrainedUNet) and not settings.init:
            self.network.encoder.load_imagenet()
        self.before: dict[str, Any] | None = None  # the training that `init` came from
        if settings.init:
            load_weights(self.network, Path(settings.init))
            self.before = read_card(Path(settings.init).with_suffix(".json")).training
        self.average = AveragedModel(
            self.network,
            multi_avg_fn=get_ema_multi_avg_fn(settings.average),
            use_buffers=True,
        )
        self.optimiser = torch.optim.AdamW(
            self.network.parameters(), settings.learning_rate, weight_decay=settings.weight_decay
        )
        steps = len(training_loader(self.train_set, 0, settings.batch, 0))
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(
            self.optimiser, settings.learning_rate, total_steps=steps * settings.epochs
        )
        self.bfloat16 = uses_bfloat16(settings.precision)
        self.epoch = 0
        self.best = -1.0

    def run(self) -> Path:
        """Trains to the last epoch, from the checkpoint where there is one.

        Returns the path of the best averaged weights; their card, `weights.json`, and `log.jsonl`
        lie beside.
        """
        self.resume()
        while self.epoch < self.settings.epochs:
            start = time.perf_counter()
            loss = self.train_epoch()
            scores = validate(self.average.module, self.val_set, self.settings.batch)
            self.epoch += 1
            row = {"epoch": self.epoch, "loss": loss, "seconds": time.perf_counter() - start}
            self._log(row | {f"val_{k}": v for k, v in scores.items()})
            if float(scores["dice"] or 0) > self.best:
                self.best = float(scores["dice"] or 0)
                self.write_weights(scores)
            self.checkpoint()
        return self.folder / "weights.safetensors"

    def train_epoch(self) -> float:
        """One pass over the training frames; the mean loss."""
        self.network.train()
        losses = []
        batches = training_loader(
            self.train_set, self.epoch, self.settings.batch, self.settings.workers
        )
        label = f"epoch {self.epoch + 1}/{self.settings.epochs}"
        with tqdm(batches, label, leave=False, disable=None) as bar:
            for frames, masks in bar:
                frames = frames.to(memory_format=torch.channels_last)
                with torch.autocast("cpu", torch.bfloat16, enabled=self.bfloat16):
                    logits = self.network.logits_and_taps(frames)[0]
                loss = LOSSES[self.settings.loss](logits, masks)
                self.optimiser.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(self.network.parameters(), self.settings.gradient_norm)
                self.optimiser.step()
                self.schedule.step()
                self.average.update_parameters(self.network)
                losses.append(loss.item())
                bar.set_postfix(loss=f"{np.mean(losses[-20:]):.3f}")
        return float(np.mean(losses))

    def checkpoint(self) -> None:
        """Everything that `resume` needs, in one file, replaced at once."""
        state = {
            "settings": as_dict(self.settings),
            "epoch": self.epoch,
            "best": self.best,
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "schedule": self.schedule.state_dict(),
            "random": torch.get_rng_state(),
        }
        with replacing(self.folder / "checkpoint.pt") as partial:
            torch.save(state, partial)

    def resume(self) -> None:
        """Loads the checkpoint of the output folder, if there is one.

        Raises:
            UserError: the checkpoint belongs to other settings.
        """
        path = self.folder / "checkpoint.pt"
        if not path.exists():
            return
        state = torch.load(path, weights_only=True)
        # Where the data lie, what they are called, and how many processes augment them does not
        # change what is learned.
        ignored = {"workers", "data", "data_name", "data_licence", "data_reference", "output"}
        ours = {k: v for k, v in as_dict(self.settings).items() if k not in ignored}
        theirs = {k: v for k, v in state["settings"].items() if k not in ignored}
        if ours != theirs:
            changed = ", ".join(sorted(k for k in ours if ours[k] != theirs.get(k)))
            raise UserError(
                f"{path}: was made with other settings ({changed}); give another output folder"
            )
        self.epoch, self.best = state["epoch"], state["best"]
        self.network.load_state_dict(state["network"])
        self.average.load_state_dict(state["average"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.schedule.load_state_dict(state["schedule"])
        torch.set_rng_state(state["random"])
        log.info("resumed after epoch %d of %d", self.epoch, self.settings.epochs)

    def write_weights(self, scores: dict[str, Any]) -> None:
        """The averaged weights and their card."""
        save_weights(self.average.module, self.folder / "weights.safetensors")
        card = new_card(
            "xpnet",
            self.settings.network,
            sum(p.numel() for p in self.network.parameters()),
            self.settings.size,
            licence="Apache-2.0",
            data=(
                DataSource(
                    self.settings.data_name,
                    "train",
                    len(self.train_set),
                    self.settings.data_licence,
                    self.settings.data_reference,
                ),
            ),
            git_commit=git_commit(),
            training={
                "settings": _public_settings(self.settings),
                "epoch": self.epoch,
                "precision": "bfloat16" if self.bfloat16 else "float32",
                "machine": describe_machine(),
                "date": date.today().isoformat(),
                "val_at_training_size": scores,
                "before": self.before,
            },
        )
        card.write(self.folder / "weights.json")

    def _log(self, row: dict[str, Any]) -> None:
        with (self.folder / "log.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        log.info("epoch %(epoch)d: loss %(loss).3f, val dice %(val_dice).3f, %(seconds).0f s", row)


@torch.inference_mode()
def validate(network: nn.Module, dataset: PolypDataset, batch: int) -> dict[str, Any]:
    """The metrics of `network` on unaugmented frames, at the training size."""
    network.eval()
    sums = MetricSums()
    for frames, masks in DataLoader(dataset, batch):
        probabilities = network(frames.to(memory_format=torch.channels_last))
        for p, t in zip(probabilities[:, 0].numpy(), masks[:, 0].numpy(), strict=True):
            height, width = t.shape
            sums.add(probabilities_to_mask(p, height, width, THRESHOLD), t.astype(np.uint8))
    return sums.scores()


def save_weights(network: nn.Module, path: Path) -> None:
    """Writes the state of a network as safetensors, through a temporary name."""
    state = {k: v.contiguous() for k, v in network.state_dict().items()}
    with replacing(path) as partial:
        save_file(state, partial)


def load_weights(network: Network, path: Path) -> None:
    """Loads safetensors into a network.

    Raises:
        UserError: no such file, no safetensors, or the weights of another network.
    """
    try:
        network.load_state_dict(load_file(path))
    except (OSError, RuntimeError) as error:
        raise UserError(f"{path}: not weights of this network: {str(error)[:200]}") from error
    except Exception as error:  # safetensors raises its own type, which is no subclass of these
        raise UserError(f"{path}: not a safetensors file: {error}") from error


def uses_bfloat16(precision: str) -> bool:
    """Whether to run under bf16 autocast: where asked for, or where the CPU multiplies in it."""
    if precision not in ("auto", "float32", "bfloat16"):
        raise UserError(f"precision '{precision}': expected auto, float32 or bfloat16")
    if precision != "auto":
        return precision == "bfloat16"
    return "avx512_bf16" in cpu_flags()


def git_commit() -> str:
    """The commit of the code; 'unknown' outside a checkout or without git."""
    command = ["git", "rev-parse", "HEAD"]
    folder = Path(__file__).parent
    try:
        result = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    except OSError:  # no git on this machine
        return "unknown"
    return result.stdout.strip() or "unknown"


def _public_settings(settings: TrainSettings) -> dict[str, object]:
    """Without the paths, which mean nothing on another machine, and what the card says itself."""
    hidden = ("data", "data_name", "data_licence", "data_reference", "output", "init")
    return {k: v for k, v in as_dict(settings).items() if k not in hidden}


def _datasets(settings: TrainSettings) -> tuple[PolypDataset, PolypDataset]:
    root = Path(settings.data)
    sets = []
    for split in ("train", "val"):
        found = find_pairs(root / "images", root / "masks", root / "index.csv", split)
        if found.without_mask or found.without_image:
            log.warning(
                "%s, split %s: %d images without a mask and %d masks without an image left out",
                root,
                split,
                len(found.without_mask),
                len(found.without_image),
            )
        augment = split == "train"
        sets.append(PolypDataset(found.pairs, settings.size, settings.seed, augment))
    return sets[0], sets[1]
