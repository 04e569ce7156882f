"""The model card: the metadata that accompanies every model.

Weights, ONNX file, plan and model repository each have one. Input size, value range, threshold and
peak are stored in the card only.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from xpnet.checksums import check_file
from xpnet.errors import UserError
from xpnet.files import write_text

THRESHOLD = 0.5
"""Probability above which a pixel is polyp, in a new card."""
MAX_BATCH = 8
"""Largest dynamic batch, and the limit of a plan's optimisation profile unless its card says
`max_batch`."""
STRIDE = 16
"""Height and width are multiples of it: the networks halve them four times."""
METADATA_KEY = "xpnet_card"
"""Key of the card, as JSON, in the metadata of an ONNX file."""


@dataclass(frozen=True)
class TensorSpec:
    """One input or output.

    Attributes:
        shape: N x C x H x W, with -1 for any batch size.
        colours: Order of the channels, `RGB` for a frame; empty for a probability map.
    """

    name: str  # of the tensor: `frames` or `probabilities`
    shape: tuple[int, int, int, int]  # frames, channels, height, width; -1: any number of frames
    dtype: str = "float32"  # always float32
    layout: str = "NCHW"  # always NCHW
    value_range: tuple[float, float] = (0.0, 1.0)  # smallest and largest value, always 0 and 1
    colours: str = ""  # order of the channels: `RGB`, or empty for a probability map

    @property
    def height(self) -> int:
        """Height in pixels."""
        return self.shape[2]

    @property
    def width(self) -> int:
        """Width in pixels."""
        return self.shape[3]


@dataclass(frozen=True)
class DataSource:
    """A data set that a model was trained on, with its terms of use."""

    name: str  # of the data set, and which part of it
    split: str  # that was trained on
    frames: int  # number of frames in this split
    licence: str  # its terms of use
    reference: str  # its publication


@dataclass(frozen=True)
class Card:
    """What later stages need to know about a model; checked when it is created.

    Raises:
        UserError: A field contradicts another one or is out of range.
    """

    name: str  # of the model
    network: str  # a key of training.models.zoo.NETWORKS
    parameters: int  # number of trained values
    input: TensorSpec  # the frames
    output: TensorSpec  # the probability maps
    threshold: float  # probability above which a pixel is polyp
    licence: str  # of the weights
    data: tuple[DataSource, ...]  # what the weights were trained on
    git_commit: str  # of the code that trained them
    peak: float = 0.0  # probability that an area must exceed somewhere to be marked; 0: none
    # settings, epoch, date and machine of the training; its teachers; `before`: the training that
    # it started from
    training: dict[str, Any] = field(default_factory=dict)
    # how an ONNX file or a plan was made: its `precision` and the effect of it, and the `forms` of
    # the network's layers (training.export.layer_forms)
    graph: dict[str, Any] = field(default_factory=dict)
    # the metrics of `xpnet evaluate` by data set, with the size they were measured with
    scores: dict[str, dict[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        where = f"card of {self.name}"
        n, channels, height, width = self.input.shape
        if (n, channels) != (-1, 3) or any(x < STRIDE or x % STRIDE for x in (height, width)):
            raise UserError(
                f"{where}: input {self.input.shape}, expected -1 x 3 x H x W with H and W "
                f"divisible by {STRIDE}"
            )
        expected = (-1, 1, height, width)
        if self.output.shape != expected:
            raise UserError(f"{where}: output {self.output.shape}, expected {expected}")
        # The project's only preprocessing produces these; a card with other values would be served
        # wrongly without an error.
        for tensor, colours in ((self.input, "RGB"), (self.output, "")):
            found = (tensor.dtype, tensor.layout, tensor.value_range, tensor.colours)
            if found != ("float32", "NCHW", (0.0, 1.0), colours):
                raise UserError(
                    f"{where}: {tensor.name} is {found}, expected float32, NCHW, 0 to 1, "
                    f"'{colours}'"
                )
        if not 0 < self.threshold < 1:
            raise UserError(f"{where}: threshold {self.threshold}, expected 0 to 1")
        if not 0 <= self.peak < 1:
            raise UserError(f"{where}: peak {self.peak}, expected at least 0 and below 1")

    def same_weights(self, other: Card) -> bool:
        """Return whether both cards describe the same weights, in any graph."""
        ours, theirs = ((c.network, c.git_commit, c.training) for c in (self, other))
        return ours == theirs

    def fingerprint(self) -> str:
        """Return the SHA-256 of what the card says, without the scores: these change no mask."""
        return hashlib.sha256(replace(self, scores={}).to_json().encode()).hexdigest()

    def at_size(self, height: int, width: int) -> Card:
        """Return the card of the same weights with another input size in pixels."""
        return replace(
            self,
            input=replace(self.input, shape=(-1, 3, height, width)),
            output=replace(self.output, shape=(-1, 1, height, width)),
        )

    def to_json(self) -> str:
        """Return the card as indented JSON with a final newline."""
        return json.dumps(asdict(self), indent=2, ensure_ascii=False) + "\n"

    def write(self, path: Path) -> None:
        """Write the card as JSON, through a temporary file."""
        write_text(path, self.to_json())


def max_plan_batch(dla: int | None) -> int:
    """Return the largest batch of a plan: a Jetson's DLA supports no dynamic batch.

    Source: TensorRT, DLA Supported Layers and Restrictions.

    Args:
        dla: Number of the DLA core, or None for the GPU.
    """
    return MAX_BATCH if dla is None else 1


def new_card(name: str, network: str, parameters: int, size: int, **fields: Any) -> Card:
    """Return a card with the project's tensor names, `frames` in and `probabilities` out.

    Args:
        name: Name of the model.
        network: Name of the network in training.models.zoo.
        parameters: Number of parameters.
        size: Height and width of the input in pixels.
        **fields: Further fields of the card.
    """
    return Card(
        name=name,
        network=network,
        parameters=parameters,
        input=TensorSpec("frames", (-1, 3, size, size), colours="RGB"),
        output=TensorSpec("probabilities", (-1, 1, size, size)),
        threshold=THRESHOLD,
        **fields,
    )


def parse_card(text: str, source: str) -> Card:
    """Parse a card.

    Args:
        text: The JSON.
        source: Name of the file, for messages.

    Raises:
        UserError: It is not JSON, a field is missing or unknown, or values contradict each other.
    """
    try:
        raw = json.loads(text)
        raw["input"] = _tensor(raw["input"])
        raw["output"] = _tensor(raw["output"])
        raw["data"] = tuple(DataSource(**d) for d in raw["data"])
        return Card(**raw)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise UserError(f"{source}: not a model card of XP-Net: {error}") from error


def read_card(path: Path) -> Card:
    """Read a card from its JSON file.

    Raises:
        UserError: As `parse_card`, or it is missing, or it is listed and differs from its checksum.
    """
    check_file(Path(path))
    try:
        return parse_card(Path(path).read_text(encoding="utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: model card cannot be read: {error}") from error


def read_model_card(repository: Path, model: str) -> Card:
    """Return the card of a model of the repository. Raises UserError that lists the models."""
    path = repository / model / "card.json"
    if not path.is_file():
        known = ", ".join(sorted(p.parent.name for p in repository.glob("*/card.json")))
        raise UserError(f"{repository}: no model '{model}' with a card, only: {known or 'none'}")
    return read_card(path)


def _tensor(raw: dict[str, Any]) -> TensorSpec:
    low, high = raw.pop("value_range")
    n, c, h, w = raw.pop("shape")
    return TensorSpec(**raw, shape=(int(n), int(c), int(h), int(w)), value_range=(low, high))
