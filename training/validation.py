"""Validation during a training, on its device and at its size, with MONAI's metrics.

These scores select the best epoch. The scores in cards and in the README are from `xpnet evaluate`,
which scores the exported model at the original size of the masks.
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

PANEL_FRAMES = 4
"""Number of frames in the panel, from the start of the data set."""


@torch.inference_mode()
def validate(
    network: Network, dataset: PolypDataset, batch: int, fabric: Fabric
) -> tuple[dict[str, float], Tensor]:
    """Score a network on unaugmented frames, and draw a panel of the first ones.

    Args:
        network: Network to score; its mode (training or evaluation) is restored.
        dataset: Frames with masks, without augmentation.
        batch: Frames per batch.
        fabric: Devices and precision.

    Returns:
        `dice` and `iou`, computed per frame and averaged over frames, where an empty prediction
        for an empty mask counts 1, as in training.evaluation.metrics; and `false_alarm`, the share
        of the frames without a polyp that have a prediction, if there are such frames. Then the
        panel, 3 x (PANEL_FRAMES * H) x (3 * W) in [0, 1]: frame, truth, probability.
    """
    was_training = network.training
    network.eval()
    dice, iou, false_alarms = [], [], []
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
        is_empty = masks.flatten(1).sum(1) == 0
        false_alarms.append(predicted.flatten(1).amax(1)[is_empty])
        if len(rows) < PANEL_FRAMES:
            columns = [frames, masks.expand_as(frames), probabilities.expand_as(frames)]
            rows += list(torch.cat(columns, dim=3).cpu())
    network.train(was_training)
    all_alarms = torch.cat(false_alarms)
    scores = {"dice": float(torch.cat(dice).mean()), "iou": float(torch.cat(iou).mean())}
    if len(all_alarms):
        scores["false_alarm"] = float(all_alarms.mean())
    return scores, torch.cat(rows[:PANEL_FRAMES], dim=1)
