"""Settings of the trainings: pydantic models, read from a YAML file, overridable as key=value.

A settings file has a section `common` and one for each job; the job's section takes precedence.
`xpnet train` finds the files of training/configs/ by name: `paper`, `cpu`, `gpu`, `ablation`.
"""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from xpnet.card import STRIDE
from xpnet.errors import UserError
from xpnet.paths import ROOT

CONFIGS = ROOT / "training" / "configs"

Count = Annotated[int, Field(ge=1)]
Rate = Annotated[float, Field(ge=1e-9, le=10)]
Weight = Annotated[float, Field(ge=0, le=math.inf)]  # `le` rejects NaN
Size = Annotated[int, Field(ge=STRIDE, multiple_of=STRIDE)]


class TrainSettings(BaseModel):
    """Settings of a training of one network on the ground truth."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    network: str = "student"  # a key of training.models.zoo.NETWORKS, or a peer
    data: str = "data/polypgen"  # folder in one of the layouts of training.data.readers
    data_name: str = "not stated"  # name of the data set, for the model card
    data_licence: str = "not stated"  # licence of the data set, for the model card
    data_reference: str = "not stated"  # publication of the data set, for the model card
    # a second data set: its frames of `train` are added; for instance PolypGen's negativeOnly
    more_data: str = ""
    more_data_name: str = "not stated"  # its name, for the model card
    more_data_licence: str = "not stated"  # its licence, for the model card
    more_data_reference: str = "not stated"  # its publication, for the model card
    # groups: by clip, or as in the index; random: 95 % train and 5 % val, as in the paper; fold1
    # and so on: a part of all clips in val (training.data.readers.FOLDS)
    split: Literal["groups", "random", "fold1", "fold2", "fold3", "fold4", "fold5"] = "groups"
    skip_bad: bool = False  # leave out the pairs that `xpnet train check-data` reports as errors
    output: str = "build/training/student"  # folder of checkpoint, weights, card and log
    init: str = ""  # safetensors file to start from; empty: random, or ImageNet for an encoder
    imagenet: bool = True  # start EfficientNet-Lite encoders from their weights of ImageNet
    size: Size = 192  # height and width of the frames, in pixels
    # paper, scope (adds the artefacts of an endoscope's picture), or none
    augmentation: Literal["paper", "scope", "none"] = "paper"
    loss: Literal["dv", "bce_dice"] = "dv"  # DV is the paper's equation 1
    epochs: Count = 40  # passes over the training frames
    batch: Annotated[int, Field(ge=2)] = 16  # frames per step and device; batch norm needs 2
    optimiser: Literal["adamw", "adam"] = "adamw"  # optimiser of all networks of the job
    learning_rate: Rate = 2e-3  # peak of one_cycle, or start of step
    beta1: Annotated[float, Field(ge=0, le=0.9999)] = 0.9  # Adam's first decay; the paper: 0.5
    weight_decay: Annotated[float, Field(ge=0, le=10)] = 0.01  # weight decay of the optimiser
    schedule: Literal["one_cycle", "step"] = "one_cycle"  # step: times 0.1 every 30 epochs
    gradient_norm: Annotated[float, Field(ge=1e-6, le=math.inf)] = 1.0  # clips gradients
    average: Annotated[float, Field(ge=0, le=0.99999)] = 0.995  # decay of averaged weights; 0: off
    accelerator: Literal["auto", "cpu", "cuda"] = "auto"  # auto: a GPU if there is one
    devices: Annotated[int, Field(ge=0)] = 1  # number of devices on this machine; 0: all
    nodes: Count = 1  # number of machines
    # auto: bf16-mixed where the device computes in bfloat16
    precision: Literal["auto", "32-true", "bf16-mixed", "16-mixed"] = "auto"
    workers: Annotated[int, Field(ge=0)] = 1  # augmentation processes; 0: in the training process
    # where frames are augmented; auto: on the device if it is a GPU
    augment_on: Literal["auto", "workers", "device"] = "auto"
    # merged: linear convolutions computed as one (training.models.merged_filters); auto: on a GPU
    filters: Literal["auto", "separate", "merged"] = "auto"
    cuda_graphs: bool = True  # on one GPU, replay each step as a CUDA graph
    # share of an epoch's frames without a polyp, at least; such frames are repeated to reach it
    empty_share: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    # share of the frames of which only a part without polyp is used, enlarged; not with
    # augmentation=none
    negative_crops: Annotated[float, Field(ge=0, le=1)] = 0.0
    validate_every: Count = 1  # epochs between two validations
    checkpoint_minutes: Weight = 10.0  # time between checkpoints; each epoch also ends with one
    seed: Annotated[int, Field(ge=0, le=2**31)] = 1  # seed of weights, order and augmentation


class Pix2PixSettings(TrainSettings):
    """Settings of teacher 2: the generator of pix2pix (Isola et al., CVPR 2017)."""

    # at least one patch of the discriminator
    size: Annotated[int, Field(ge=32, multiple_of=STRIDE)] = 192
    l1: Weight = 100.0  # weight of the L1 distance to the mask; the adversarial loss has weight 1
    discriminator_learning_rate: Rate = 2e-4  # learning rate of the patch discriminator


class DistillSettings(TrainSettings):
    """Settings of a student trained on the ground truth and on any number of teachers."""

    # safetensors files, each with its card, in order; not strict: YAML has lists, no tuples
    teachers: Annotated[tuple[str, ...], Field(strict=False)] = ()
    # which teacher is real at which step: training.methods.teachers.select_real_teacher
    # mean: the mean of all teachers' maps at each step, without features
    order: Literal["orderly", "alternate", "random", "mean"] = "orderly"
    adversarial: Weight = 0.2  # lambda of the paper's equation 2; 0: no discriminator
    adversarial_every: Count = 1  # steps between two with the discriminator
    output_loss: Weight = 0.0  # weight of the cross-entropy to the teacher's probability map
    discriminator_learning_rate: Rate = 1e-4  # learning rate of the hierarchical discriminator
    tap_norm: bool = False  # scale each feature before the discriminator to mean 0 and deviation 1
    spectral_norm: bool = False  # spectral norm of the discriminator's convolutions
    r1: Weight = 0.0  # weight of the penalty on the discriminator's gradient at real inputs
    # noise on the discriminator's inputs, relative to their standard deviation
    discriminator_noise: Annotated[float, Field(ge=0, le=10)] = 0.0
    # accuracy from which the discriminator is not trained; 1: never
    discriminator_pause: Annotated[float, Field(ge=0.5, le=1)] = 1.0


class _Loader(yaml.SafeLoader):
    """YAML loader that reads 2e-3 as a number; YAML 1.1 requires 2.0e-3."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?[0-9]+[eE][-+]?[0-9]+$"), list("-+0123456789")
)

JOBS: dict[str, tuple[str, type[TrainSettings]]] = {
    # job: its network and its settings
    "teacher1": ("teacher", TrainSettings),
    "teacher2": ("teacher", Pix2PixSettings),
    "teacher3": ("teacher3", TrainSettings),
    "unet": ("unet", TrainSettings),
    "student": ("student", TrainSettings),
    "lite": ("lite", TrainSettings),
    "distill_xpnet": ("student", DistillSettings),
    "distill_xpnet_lite": ("lite", DistillSettings),
}
# These do not change the result. A checkpoint identifies frames and teachers by hash, so a run may
# be resumed after its files were moved.
IGNORED_ON_RESUME = frozenset(
    {
        "data", "data_name", "data_licence", "data_reference", "more_data", "more_data_name",
        "more_data_licence", "more_data_reference", "output", "teachers", "workers",
        "checkpoint_minutes",
    }
)  # fmt: skip


def read_settings(job: str, config: str, overrides: dict[str, Any]) -> TrainSettings:
    """Read the settings of a job: `common` of the file, then the job's section, then overrides.

    Args:
        job: A key of JOBS.
        config: Name of a file in training/configs/, or path of a YAML file.
        overrides: Settings by name; strings are parsed as YAML.

    Raises:
        UserError: The file is missing or not a mapping of sections, a section or key is unknown,
            or a value has the wrong type or is out of range.
    """
    path = CONFIGS / f"{config}.yaml"
    if not path.is_file():
        path = Path(config)
    if not path.is_file():
        names = ", ".join(sorted(p.stem for p in CONFIGS.glob("*.yaml")))
        raise UserError(f"{config}: no such settings file; known names: {names}")
    try:
        sections = yaml.load(path.read_text(encoding="utf-8"), _Loader) or {}
        unknown = [name for name in sections if name not in ("common", *JOBS)]
        if unknown:
            raise UserError(
                f"{path}: unknown section '{unknown[0]}'; known: common, {', '.join(JOBS)}"
            )
        values = {**(sections.get("common") or {}), **(sections.get(job) or {})}
        for key, value in overrides.items():
            values[key] = yaml.load(value, _Loader) if isinstance(value, str) else value
    except (yaml.YAMLError, TypeError, AttributeError, ValueError) as error:
        raise UserError(f"{path}: not a YAML mapping of sections: {error}") from error
    network, settings_type = JOBS[job]
    if values.get("network", network) != network:
        raise UserError(f"network {values['network']}: the job {job} trains {network}")
    values = {"output": f"build/training/{job}", **values, "network": network}
    values = {key: "" if value is None else value for key, value in values.items()}  # `init=`
    try:
        return settings_type(**values)
    except ValidationError as error:
        first = error.errors()[0]
        key = str(first["loc"][0])
        origin = "key=value" if key in overrides else path
        if first["type"] == "extra_forbidden":
            known = ", ".join(settings_type.model_fields)
            raise UserError(f"{origin}: unknown setting '{key}'; known: {known}") from error
        found, expected = first["input"], first["msg"].removeprefix("Input should be ")
        raise UserError(f"{origin}: {key} is {found!r}, expected {expected}") from error


def parse_overrides(words: list[str]) -> dict[str, str]:
    """Parse `key=value` words.

    Raises:
        UserError: A word is not `key=value`.
    """
    overrides = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not (key and equals):
            raise UserError(f"'{word}': expected key=value")
        overrides[key] = value
    return overrides


def changed_settings(ours: TrainSettings, theirs: dict[str, Any]) -> list[str]:
    """Return the names of settings that differ and change the result of a training."""
    mine = ours.model_dump()
    keys = (mine.keys() | theirs.keys()) - IGNORED_ON_RESUME
    return sorted(k for k in keys if mine.get(k) != theirs.get(k))
