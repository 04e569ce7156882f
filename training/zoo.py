"""Every network that can be trained, by name."""

from __future__ import annotations

from collections.abc import Callable

from training.networks import SegmentationNet, student, teacher, unet
from training.pretrained import PretrainedUNet, lite, teacher3

Network = SegmentationNet | PretrainedUNet

NETWORKS: dict[str, Callable[[], Network]] = {
    "unet": unet,
    "teacher": teacher,
    "student": student,
    "teacher3": teacher3,
    "lite": lite,
}
