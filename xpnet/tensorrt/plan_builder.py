"""`xpnet build` on a target: the fastest TensorRT plan that computes what its ONNX file does.

Each candidate is built, run on real frames beside ONNX Runtime, and timed; the fastest that agrees
goes into the model repository as 1/model.plan with a card of its own. What does not agree is
refused, and a plan that was there stays.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date
from hashlib import sha256
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from xpnet.card import Card, most_frames, read_model_card
from xpnet.errors import NotInstalled, UserError
from xpnet.files import check_writable, write_bytes, write_text
from xpnet.frames import Frame, frame_to_tensor
from xpnet.host.gpu import check_target, describe_gpu
from xpnet.images import sample_frames
from xpnet.paths import MODEL_REPOSITORY, plan_path
from xpnet.serving.model_config import plan_config
from xpnet.serving.onnx_inference import OnnxInference
from xpnet.tensorrt.agreement import check_agreement, compare
from xpnet.tensorrt.build_dir import alone, timings
from xpnet.tensorrt.engine_inference import check_version
from xpnet.tensorrt.network_definition import read_model
from xpnet.tensorrt.plan_check import card_of_plan
from xpnet.tensorrt.python_api import PythonApi
from xpnet.tensorrt.trtexec import Trtexec, find_trtexec

log = logging.getLogger("xpnet.build")

FRAMES = 8
PRECISIONS = ("fp32", "fp16", "int8")


@dataclass(frozen=True)
class PlanSettings:
    """One build. `onnx` are the candidates; where it is empty, the graphs of `precisions`."""

    target: str  # rtx or jetson
    model: str  # its folder in the repository
    frames: Path  # clip that the plan is checked on
    onnx: tuple[Path, ...] = ()
    precisions: tuple[str, ...] = ("fp16",)
    dla: int | None = None  # core of the deep learning accelerator of a Jetson Orin
    timing_cache: Path | None = None
    repository: Path = MODEL_REPOSITORY
    if_needed: bool = False  # a plan that fits is kept


class Tool(Protocol):
    """TensorRT, by whichever way is installed."""

    version: str

    def times(self, dla: int | None) -> str:
        """What the milliseconds of `run` are of, for the card."""

    def build(self, onnx: Path, card: Card, output: Path, dla: int | None, cache: Path) -> None:
        """Writes the plan of an ONNX file; reads and writes timings in `cache`."""

    def run(
        self, plan: Path, card: Card, tensors: list[NDArray[np.float32]], dla: int | None
    ) -> tuple[NDArray[np.float32], float]:
        """Probabilities N x 1 x H x W, and the median milliseconds of one frame."""


def build_plan(settings: PlanSettings) -> Card:
    """Builds, checks and times the candidates and writes the best; returns its card.

    Raises:
        UserError: the machine is not the target, TensorRT or the driver is missing or of a wrong
            version, a candidate is not of this model, or none agrees with its ONNX file.
    """
    check_target(settings.target, settings.dla)
    folder = settings.repository / settings.model
    served = read_model_card(settings.repository, settings.model)
    onnx = settings.onnx or tuple(graph_of(folder, p) for p in settings.precisions)
    cards = {path: _fitting(path, served, settings.dla) for path in onnx}
    frames = sample_frames(settings.frames, FRAMES)
    output = plan_path(folder)
    if not output.parent.is_dir():
        check_writable(output.parent)
        try:
            output.parent.mkdir()
        except OSError as error:
            raise UserError(f"{output.parent}: cannot be made: {error.strerror}") from error
    check_writable(output)
    tool = find_tool()
    machine = describe_gpu(settings.target)
    with alone(output.parent):
        made_by = {**machine, "tensorrt": tool.version, "dla": settings.dla}
        kept = _fitting_plan(output, made_by, cards.values()) if settings.if_needed else None
        if kept:
            log.info("%s fits: kept", output)
        else:
            content, kept = _best(tool, cards, frames, output, machine, settings)
            write_bytes(output, content)
            kept.write(output.with_name("card.json"))  # names the plan's SHA-256: both or neither
        _write_config(folder / "config.pbtxt", kept)  # a build may have been cut off before it
    return kept


def _best(
    tool: Tool,
    cards: Mapping[Path, Card],
    frames: list[Frame],
    output: Path,
    machine: dict[str, str],
    settings: PlanSettings,
) -> tuple[bytes, Card]:
    """The fastest candidate that agrees with its ONNX file. Raises UserError where none does."""
    made, refused = [], []
    for path, card in cards.items():
        partial = output.with_name(f".{path.stem}.plan")
        try:
            made.append(_candidate(tool, path, card, partial, frames, machine, settings))
        except UserError as error:
            refused.append(error)
        finally:
            partial.unlink(missing_ok=True)
    for other in refused if made else refused[1:]:
        log.warning("%s", other)
    if not made:
        raise refused[0]
    content, card = min(made, key=lambda pair: float(pair[1].graph["median_ms"]))
    return content, replace(card, graph={**card.graph, "candidates": _precisions(cards.values())})


def _write_config(path: Path, card: Card) -> None:
    """Another one for an accelerator (DLA) alone, and a container may not write there."""
    text = plan_config(card)
    if path.read_text(encoding="utf-8") != text:
        write_text(path, text)


def _precisions(cards: Iterable[Card]) -> list[str]:
    return sorted(str(card.graph.get("precision", "fp32")) for card in cards)


def graph_of(folder: Path, precision: str) -> Path:
    """The ONNX file of a model's folder that its plan of `precision` is built from."""
    if precision not in PRECISIONS:
        raise UserError(f"--precision {precision}: expected one of {', '.join(PRECISIONS)}")
    if precision == "fp32":
        return folder.with_name(f"{folder.name}_onnx") / "1" / "model.onnx"
    return folder / "onnx" / f"{precision}.onnx"


def find_tool() -> Tool:
    """TensorRT's Python module, or trtexec.

    Raises:
        UserError: neither is there, or its version is not 10 or 11.
    """
    program = find_trtexec()
    try:
        return PythonApi()
    except NotInstalled as error:
        if program is None:
            raise
        log.info("%s takes its place: %s", program, error)
    tool = Trtexec(program)
    check_version(tool.version)
    return tool


def _fitting(path: Path, served: Card, dla: int | None) -> Card:
    card = read_model(path)
    if (card.name, card.input, card.output) != (served.name, served.input, served.output):
        raise UserError(
            f"{path}: is {card.name} at {card.input.height} x {card.input.width}, the repository "
            f"serves {served.name} at {served.input.height} x {served.input.width}: `xpnet export "
            "--precision` makes its graphs, on a machine with PyTorch"
        )
    if not card.same_weights(served) or card.threshold != served.threshold:
        raise UserError(
            f"{path}: is of other weights or threshold than {served.name} of the repository"
        )
    precision = card.graph.get("precision", "fp32")
    if precision not in PRECISIONS:
        raise UserError(f"{path}: is {precision}, TensorRT takes {', '.join(PRECISIONS)}")
    if dla is not None and precision != "fp16":  # it knows INT8 too, but not by Q/DQ
        raise UserError(f"{path}: is {precision}, the accelerator (DLA) takes fp16 graphs only")
    return card


def _fitting_plan(
    plan: Path, made_by: Mapping[str, object], cards: Collection[Card]
) -> Card | None:
    """The card of a plan that is there, the best of these very graphs on this machine."""
    found = card_of_plan(plan)
    if found is None:
        return None
    if found.graph.get("candidates") != _precisions(cards):
        return None
    plain = replace(found, graph={}, scores={})
    for card in cards:
        # The driver may change: a plan is tied to the GPU and to TensorRT.
        wanted = {**card.graph, **{key: made_by[key] for key in ("gpu", "tensorrt", "dla")}}
        same = all(found.graph.get(key) == value for key, value in wanted.items())
        if same and replace(card, graph={}, scores={}) == plain:
            return found
    return None


def _candidate(
    tool: Tool,
    onnx: Path,
    card: Card,
    plan: Path,
    frames: list[Frame],
    machine: dict[str, str],
    settings: PlanSettings,
) -> tuple[bytes, Card]:
    tensors = [frame_to_tensor(f, card.input.height, card.input.width) for f in frames]
    wanted = _reference(onnx, tensors)
    if not (wanted > card.threshold).any():
        raise UserError(
            f"{settings.frames}: no polyp on {len(frames)} frames of it: checks nothing"
        )
    gpu = re.sub(r"\W+", "-", machine["gpu"])
    cache = settings.repository / f".timing.{gpu}.{tool.version}.cache"
    log.info("%s: building with TensorRT %s, which takes minutes", onnx, tool.version)
    with timings(settings.timing_cache or cache) as own:
        tool.build(onnx, card, plan, settings.dla, own)
    found, median_ms = tool.run(plan, card, tensors, settings.dla)
    measured = compare(found, wanted, card.threshold)
    check_agreement(onnx, measured)
    log.info("%s: %.2f ms a frame, masks agree by %.4f", onnx, median_ms, measured["agreement"])
    content = plan.read_bytes()
    graph = {
        **card.graph,
        "precision": card.graph.get("precision", "fp32"),
        **machine,
        "tensorrt": tool.version,
        "dla": settings.dla,
        "max_batch": most_frames(settings.dla),
        "date": date.today().isoformat(),
        "median_ms": round(median_ms, 3),
        "timed_by": tool.times(settings.dla),
        "sha256": sha256(content).hexdigest(),
        "plan": measured,
    }
    return content, replace(card, graph=graph, scores={})


def _reference(onnx: Path, tensors: list[NDArray[np.float32]]) -> NDArray[np.float32]:
    model = OnnxInference(onnx)
    try:
        return np.stack([model.submit(t).result() for t in tensors])[:, None]
    finally:
        model.close()
