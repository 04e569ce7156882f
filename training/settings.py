"""Settings of a training: a dataclass, read from one YAML file, overridable as key=value."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from pathlib import Path

import yaml

from xpnet.errors import UserError


@dataclass(frozen=True)
class TrainSettings:
    """One supervised training."""

    network: str = "student"  # a name in training.networks.NETWORKS
    data: str = "data/polypgen"  # folder with images/, masks/ and index.csv
    data_name: str = "not stated"  # for the card, as are the next two
    data_licence: str = "not stated"
    data_reference: str = "not stated"
    output: str = "build/training/student"  # checkpoint, weights, card and log
    init: str = ""  # weights (safetensors) to start from; empty: Kaiming-uniform
    loss: str = "dv"  # dv (the paper's) or bce_dice
    size: int = 192  # pixels, height and width; divisible by 16
    epochs: int = 40
    batch: int = 16
    learning_rate: float = 2e-3  # the peak of the one-cycle schedule
    weight_decay: float = 0.01
    gradient_norm: float = 1.0  # largest norm of the gradient; one bad batch must not undo an epoch
    average: float = 0.995  # decay of the averaged weights, for each step
    precision: str = "auto"  # auto, float32 or bfloat16 (autocast)
    workers: int = 1  # processes that augment; 0: in the training process
    seed: int = 1

    def __post_init__(self) -> None:
        for name, least in (("epochs", 1), ("batch", 1), ("workers", 0)):
            if getattr(self, name) < least:
                raise UserError(f"{name} {getattr(self, name)}: expected at least {least}")


def read_settings(path: Path, overrides: list[str]) -> TrainSettings:
    """The settings of a YAML file, with `key=value` overrides in its own syntax on top.

    Raises:
        UserError: no such file, no mapping, an unknown key, or a value of the wrong type.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such settings file")
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        for override in overrides:
            key, found, value = override.partition("=")
            if not found:
                raise UserError(f"'{override}': expected key=value")
            values[key] = yaml.safe_load(value)
    except (yaml.YAMLError, TypeError) as error:
        raise UserError(f"{path}: not a YAML mapping: {error}") from error
    known = {f.name: type(f.default) for f in fields(TrainSettings)}
    for key, value in values.items():
        if key not in known:
            raise UserError(f"{path}: unknown setting '{key}'; known: {', '.join(known)}")
        if known[key] is float and isinstance(value, int | str):
            values[key] = _as_float(path, key, value)
        elif value is None:  # `key=` on the command line
            values[key] = ""
        if type(values[key]) is not known[key]:
            raise UserError(f"{path}: {key} is {value!r}, expected {known[key].__name__}")
    return TrainSettings(**values)


def as_dict(settings: TrainSettings) -> dict[str, object]:
    """For the card and the checkpoint."""
    return asdict(settings)


def _as_float(path: Path, key: str, value: int | str) -> float:
    try:  # YAML 1.1 reads 2e-3 as a word
        return float(value)
    except ValueError:
        raise UserError(f"{path}: {key} is {value!r}, expected a number") from None
