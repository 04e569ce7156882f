"""The model card: what travels beside every model, so that no stage has to guess.

Weights, ONNX file, engine and model repository each carry one; the input size, the value range
and the threshold stand here and nowhere else.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from xpnet.errors import UserError
from xpnet.files import write_text

THRESHOLD = 0.5
"""The probability above which a pixel is polyp, where a card is new."""
MAX_BATCH = 8
"""Largest dynamic batch; the plan's optimisation profile has the same bound, unless its card says
`max_batch`."""
STRIDE = 16
"""Height and width are multiples of it: the networks halve them four times."""
METADATA_KEY = "xpnet_card"
"""The key of the card, as JSON, in an ONNX file's metadata."""


@dataclass(frozen=True)
class TensorSpec:
    """One input or output: `shape` N x C x H x W with -1 for any batch."""

    name: str
    shape: tuple[int, int, int, int]
    dtype: str = "float32"
    layout: str = "NCHW"
    value_range: tuple[float, float] = (0.0, 1.0)
    colours: str = ""  # order of the channels, RGB for a frame; empty for a probability map

    @property
    def height(self) -> int:
        """Pixels."""
        return self.shape[2]

    @property
    def width(self) -> int:
        """Pixels."""
        return self.shape[3]


@dataclass(frozen=True)
class DataSource:
    """Data that a model was trained on, with the terms under which it is used."""

    name: str
    split: str
    frames: int
    licence: str
    reference: str


@dataclass(frozen=True)
class Card:
    """Everything that a later stage needs to know about a model, checked when it is made.

    `scores` maps the name of a data set to the metrics of `xpnet evaluate`, each with the size
    (`height`, `width`) and the file it was measured with; `training` holds the settings, the
    length and the machine of the training; `graph` what an ONNX file or a plan is made like: its
    `precision` and what that changed, and the `forms` of the network's parts (training.export.layer_forms).

    Raises:
        UserError: a field contradicts another or lies outside its range.
    """

    name: str
    network: str
    parameters: int
    input: TensorSpec
    output: TensorSpec
    threshold: float
    licence: str
    data: tuple[DataSource, ...]
    git_commit: str
    training: dict[str, Any] = field(default_factory=dict)
    graph: dict[str, Any] = field(default_factory=dict)
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
        # The one preprocessing of the project makes these; a card that says otherwise would be
        # served wrong without a word.
        for tensor, colours in ((self.input, "RGB"), (self.output, "")):
            found = (tensor.dtype, tensor.layout, tensor.value_range, tensor.colours)
            if found != ("float32", "NCHW", (0.0, 1.0), colours):
                raise UserError(
                    f"{where}: {tensor.name} is {found}, expected float32, NCHW, 0 to 1, "
                    f"'{colours}'"
                )
        if not 0 < self.threshold < 1:
            raise UserError(f"{where}: threshold {self.threshold}, expected 0 to 1")

    def same_weights(self, other: Card) -> bool:
        """Whether both cards are of the very same weights, in whatever graph."""
        ours, theirs = ((c.network, c.git_commit, c.training) for c in (self, other))
        return ours == theirs

    def at_size(self, height: int, width: int) -> Card:
        """The card of the same weights with another fixed input size, in pixels."""
        return replace(
            self,
            input=replace(self.input, shape=(-1, 3, height, width)),
            output=replace(self.output, shape=(-1, 1, height, width)),
        )

    def to_json(self) -> str:
        """JSON, indented, with a line end."""
        return json.dumps(asdict(self), indent=2, ensure_ascii=False) + "\n"

    def write(self, path: Path) -> None:
        """Writes the card as JSON, through a temporary name."""
        write_text(path, self.to_json())


def most_frames(dla: int | None) -> int:
    """The largest batch of a plan: the accelerator (DLA) of a Jetson knows no dynamic one.

    Source: TensorRT, DLA Supported Layers and Restrictions.
    """
    return MAX_BATCH if dla is None else 1


def new_card(name: str, network: str, parameters: int, size: int, **fields: Any) -> Card:
    """A card with the project's tensor names: `frames` in, `probabilities` out."""
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
    """A card from its JSON; `source` names the file in the error.

    Raises:
        UserError: not JSON, a missing or unknown field, or values that contradict each other.
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
    """Reads a card from its JSON file. Raises UserError as `parse_card`, or where it is missing."""
    try:
        return parse_card(Path(path).read_text(encoding="utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: model card cannot be read: {error}") from error


def read_model_card(repository: Path, model: str) -> Card:
    """The card of a model of the repository. Raises UserError, which lists what there is."""
    path = repository / model / "card.json"
    if not path.is_file():
        known = ", ".join(sorted(p.parent.name for p in repository.glob("*/card.json")))
        raise UserError(f"{repository}: no model '{model}' with a card, only: {known or 'none'}")
    return read_card(path)


def _tensor(raw: dict[str, Any]) -> TensorSpec:
    low, high = raw.pop("value_range")
    n, c, h, w = raw.pop("shape")
    return TensorSpec(**raw, shape=(int(n), int(c), int(h), int(w)), value_range=(low, high))
