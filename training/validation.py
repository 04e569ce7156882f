"""Scores during a training, on its device and at its size, with MONAI's metrics.

They choose the epoch. What a card or the README says comes from `xpnet evaluate`, which scores
the exported model at the size of the masks as stored.
"""

from __future__ import annotations

import torch
from lightning_fabric import Fabric
from monai.metrics import compute_dice, compute_iou
from torch import Tensor
from torch.utils.data import DataLoader

from training.data.dataset import PolypDataset
from training.models.zoo import Network
from xpnet.card import THRESHOLD

SHOWN = 4
"""Frames in the panel: the first ones of the set."""


@torch.inference_mode()
def validate(
    network: Network, dataset: PolypDataset, batch: int, fabric: Fabric
) -> tuple[dict[str, float], Tensor]:
    """`dice`, `iou` and `false_alarm` of unaugmented frames, and a panel of the first ones.

    Per frame, averaged over frames; an empty mask met by an empty prediction counts 1, as in
    training.evaluation.metrics. The panel is 3 x (SHOWN * H) x (3 * W) in [0, 1]: frame, truth, probability.
    """
    training = network.training
    network.eval()
    dice, iou, alarms = [], [], []
    rows: list[Tensor] = []
    for frames, masks in DataLoader(dataset, batch):
        frames = frames.to(fabric.device, memory_format=torch.channels_last)
        masks = masks.to(fabric.device)
        with fabric.autocast():
            logits = network.logits_and_taps(frames)[0]
        probabilities = torch.sigmoid(logits.float())
        predicted = (probabilities > THRESHOLD).float()
        dice.append(compute_dice(predicted, masks, include_background=True, ignore_empty=False))
        iou.append(compute_iou(predicted, masks, include_background=True, ignore_empty=False))
        empty = masks.flatten(1).sum(1) == 0
        alarms.append(predicted.flatten(1).amax(1)[empty])
        if len(rows) < SHOWN:
            sides = [frames, masks.expand_as(frames), probabilities.expand_as(frames)]
            rows += list(torch.cat(sides, dim=3).cpu())
    network.train(training)
    found = torch.cat(alarms)
    scores = {"dice": float(torch.cat(dice).mean()), "iou": float(torch.cat(iou).mean())}
    if len(found):
        scores["false_alarm"] = float(found.mean())
    return scores, torch.cat(rows[:SHOWN], dim=1)
