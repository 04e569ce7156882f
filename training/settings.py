"""Settings of the trainings: dataclasses, read from one YAML file, overridable as key=value.

A file of settings has a section `common` and one for each job; a job's section wins. `xpnet train`
takes the files in training/configs/ by name: `paper`, `cpu`, `gpu`.
"""

from __future__ import annotations

import math
from collections.abc import Container
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

import yaml

from training.models.zoo import NETWORKS
from xpnet.card import STRIDE
from xpnet.errors import UserError

CONFIGS = Path(__file__).parent / "configs"


@dataclass(frozen=True)
class TrainSettings:
    """One training of one network against the truth."""

    network: str = "student"  # a name in training.models.zoo.NETWORKS
    data: str = "data/polypgen"  # a folder in one of the layouts of training.data.readers
    data_name: str = "not stated"  # for the card, as are the next two
    data_licence: str = "not stated"
    data_reference: str = "not stated"
    split: str = "groups"  # groups: by clip, as the index says; random: 95 / 5, as in the paper
    skip_bad: bool = False  # train without the pairs that `xpnet train check-data` refuses
    output: str = "build/training/student"  # checkpoint, weights, card and log
    init: str = ""  # weights (safetensors) to start from; empty: fresh, or ImageNet's encoder
    size: int = 192  # pixels, height and width; divisible by 16
    augmentation: str = "paper"  # paper, scope (what an endoscope adds), or none
    loss: str = "dv"  # dv (the paper's equation 1) or bce_dice
    epochs: int = 40
    batch: int = 16  # frames a step, on each device
    optimiser: str = "adamw"  # adamw or adam
    learning_rate: float = 2e-3  # the peak of one_cycle, the start of step
    beta1: float = 0.9  # Adam's first decay; the paper has 0.5 for the student
    weight_decay: float = 0.01
    schedule: str = "one_cycle"  # one_cycle, or step: times 0.1 every 30 epochs
    gradient_norm: float = 1.0  # largest norm of the gradient: one bad batch must not undo an epoch
    average: float = 0.995  # decay of the averaged weights, for each step; 0: none are kept
    accelerator: str = "auto"  # auto, cpu or cuda
    devices: int = 1  # devices of this machine; 0: all of them
    nodes: int = 1  # machines
    precision: str = "auto"  # auto, 32-true, bf16-mixed or 16-mixed
    workers: int = 1  # processes that augment; 0: in the training process
    checkpoint_minutes: float = 10.0  # between checkpoints inside an epoch; each epoch ends in one
    seed: int = 1

    def __post_init__(self) -> None:
        for name, (low, high) in RANGES.items():
            value = getattr(self, name, low)
            if not low <= value <= high:
                limit = f"{low} to {high}" if high < math.inf else f"at least {low}"
                raise UserError(f"{name} {value}: expected {limit}")
        if self.size % STRIDE or self.size < STRIDE:
            raise UserError(f"size {self.size}: expected a multiple of {STRIDE}")
        for name, known in CHOICES.items():
            if getattr(self, name) not in known:
                raise UserError(
                    f"{name} '{getattr(self, name)}': expected one of {', '.join(known)}"
                )


@dataclass(frozen=True)
class Pix2PixSettings(TrainSettings):
    """Teacher 2: the network as the generator of pix2pix (Isola et al., CVPR 2017)."""

    l1: float = 100.0  # weight of the distance to the mask beside the adversarial loss
    discriminator_learning_rate: float = 2e-4

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.size < 32:
            raise UserError(f"size {self.size}: expected at least 32, a patch of the discriminator")


@dataclass(frozen=True)
class DistillSettings(TrainSettings):
    """A student, taught by the truth and by any number of teachers."""

    teachers: tuple[str, ...] = ()  # weights (safetensors, each with its card), in their order
    order: str = "orderly"  # orderly, alternate or random: which teacher is real at which step
    adversarial: float = 0.2  # lambda of the paper's equation 2; 0: no discriminator
    adversarial_every: int = 1  # steps from one with the discriminator to the next
    output_loss: float = 0.0  # weight of the cross-entropy to the teacher's probability map
    discriminator_learning_rate: float = 1e-4

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.order not in ORDERS:
            raise UserError(f"order '{self.order}': expected one of {', '.join(ORDERS)}")


RANGES = {
    "epochs": (1, math.inf),
    "batch": (2, math.inf),  # batch norm needs two values of each channel
    "workers": (0, math.inf),
    "devices": (0, math.inf),
    "nodes": (1, math.inf),
    "learning_rate": (1e-9, 10.0),
    "discriminator_learning_rate": (1e-9, 10.0),
    "beta1": (0.0, 0.9999),
    "weight_decay": (0.0, 10.0),
    "gradient_norm": (1e-6, math.inf),
    "average": (0.0, 0.99999),
    "checkpoint_minutes": (0.0, math.inf),
    "seed": (0, 2**31),
    "l1": (0.0, math.inf),
    "adversarial": (0.0, math.inf),
    "adversarial_every": (1, math.inf),
    "output_loss": (0.0, math.inf),
}
ORDERS = ("orderly", "alternate", "random")
CHOICES: dict[str, tuple[str, ...]] = {
    "network": tuple(NETWORKS),
    "split": ("groups", "random"),
    "augmentation": ("paper", "scope", "none"),
    "loss": ("dv", "bce_dice"),
    "optimiser": ("adamw", "adam"),
    "schedule": ("one_cycle", "step"),
    "accelerator": ("auto", "cpu", "cuda"),
    "precision": ("auto", "32-true", "bf16-mixed", "16-mixed"),
}
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
# Where the files lie, what the data are called and what does the work: none of it changes what is
# learned, so a run may go on with others. Which frames and teachers they are, the checkpoint knows.
ELSEWHERE = frozenset(
    {
        "data", "data_name", "data_licence", "data_reference", "output", "teachers", "workers",
        "checkpoint_minutes",
    }
)  # fmt: skip

Settings = TypeVar("Settings", bound=TrainSettings)


def read_job(job: str, config: str, overrides: dict[str, Any]) -> TrainSettings:
    """The settings of a job, one of JOBS: the file's `common`, its own section, the overrides.

    `config` is a name in training/configs/ or the path of a YAML file; the values of `overrides`
    that are strings are read as YAML.

    Raises:
        UserError: no such file, no mapping, an unknown section or key, or a value of the wrong
            type or out of range.
    """
    path = CONFIGS / f"{config}.yaml"
    if not path.is_file():
        path = Path(config)
    if not path.is_file():
        named = ", ".join(sorted(p.stem for p in CONFIGS.glob("*.yaml")))
        raise UserError(f"{config}: no such settings file; by name there are {named}")
    try:
        sections = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        unknown = [name for name in sections if name not in ("common", *JOBS)]
        if unknown:
            raise UserError(
                f"{path}: unknown section '{unknown[0]}'; known: common, {', '.join(JOBS)}"
            )
        values = {**(sections.get("common") or {}), **(sections.get(job) or {})}
        for key, value in overrides.items():
            values[key] = yaml.safe_load(value) if isinstance(value, str) else value
    except (yaml.YAMLError, TypeError, AttributeError, ValueError) as error:
        raise UserError(f"{path}: not a YAML mapping of sections: {error}") from error
    network, kind = JOBS[job]
    if values.get("network", network) != network:
        raise UserError(f"network {values['network']}: the job {job} trains {network}")
    values = {"output": f"build/training/{job}", **values, "network": network}
    return _checked(kind, values, path, overrides)


def parse_overrides(words: list[str]) -> dict[str, str]:
    """`key=value` words as a mapping. Raises UserError for a word without a key."""
    found = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not (key and equals):
            raise UserError(f"'{word}': expected key=value")
        found[key] = value
    return found


def as_dict(settings: TrainSettings) -> dict[str, Any]:
    """For the card and the checkpoint."""
    return asdict(settings)


def differences(ours: TrainSettings, theirs: dict[str, Any]) -> list[str]:
    """The names of the settings that differ and change what is learned."""
    mine = as_dict(ours)
    keys = (mine.keys() | theirs.keys()) - ELSEWHERE
    return sorted(k for k in keys if mine.get(k) != theirs.get(k))


def _checked(
    kind: type[Settings], values: dict[str, Any], path: Path, overrides: Container[str]
) -> Settings:
    known = {f.name: type(f.default) for f in fields(kind)}
    for key, value in values.items():
        where = "key=value" if key in overrides else str(path)
        if key not in known:
            raise UserError(f"{where}: unknown setting '{key}'; known: {', '.join(known)}")
        values[key] = _as_type(value, known[key], f"{where}: {key}")
    return kind(**values)


def _as_type(value: Any, kind: type, where: str) -> Any:
    if value is None and kind is str:  # `key=` on the command line
        return ""
    if kind is tuple and isinstance(value, list | tuple):
        return tuple(str(v) for v in value)
    if kind is float and isinstance(value, int | str) and not isinstance(value, bool):
        try:  # YAML 1.1 reads 2e-3 as a word
            return float(value)
        except ValueError:
            pass
    if type(value) is not kind:
        raise UserError(f"{where} is {value!r}, expected {NAMES.get(kind, kind.__name__)}")
    return value


NAMES = {tuple: "a list", float: "a number", int: "a whole number", str: "text", bool: "true/false"}
