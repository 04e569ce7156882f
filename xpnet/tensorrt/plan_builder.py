"""`xpnet build`: build, check and select the TensorRT plan of a model.

Steps for each candidate ONNX file:
1. Build a plan on this machine's GPU.
2. Run it on real frames, and compare the output with ONNX Runtime's.
3. Reject it if the outputs differ, otherwise measure its latency.

The fastest accepted plan is written to the model repository as 1/model.plan, with a card of its
own. If all candidates are rejected, an existing plan stays as it is.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date
from hashlib import sha256
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from xpnet.card import Card, max_plan_batch, read_model_card
from xpnet.errors import UserError
from xpnet.files import check_writable, write_bytes, write_text
from xpnet.frames import Frame, frame_to_tensor
from xpnet.host.gpu import check_target, describe_gpu
from xpnet.images import sample_frames
from xpnet.paths import MODEL_REPOSITORY, card_path, plan_path
from xpnet.serving.model_config import plan_config
from xpnet.serving.onnx_inference import OnnxInference
from xpnet.tensorrt.agreement import check_agreement, compare_probabilities
from xpnet.tensorrt.build_dir import exclusive_build_dir, timing_cache_copy
from xpnet.tensorrt.plan_backend import PlanBackend, find_plan_backend
from xpnet.tensorrt.plan_candidates import candidate_path, read_candidate
from xpnet.tensorrt.plan_check import read_plan_card

log = logging.getLogger("xpnet.build")

CHECK_FRAMES = 8
"""Number of frames on which a plan is compared with ONNX Runtime."""


@dataclass(frozen=True)
class PlanSettings:
    """Settings of one `xpnet build`.

    Attributes:
        target: "rtx" or "jetson".
        model: Name of the model in the repository.
        frames: Clip with polyps; the plan is checked on frames of it.
        onnx: Candidate ONNX files. If empty, the model's own files of `precisions` are used.
        precisions: Some of `xpnet.tensorrt.plan_candidates.PRECISIONS`.
        dla: Core of the deep learning accelerator (DLA) of a Jetson Orin; None for the GPU.
        timing_cache: TensorRT's timing cache. By default one is kept in the repository for each
            GPU and TensorRT version.
        repository: The model repository.
        if_needed: Skip the build if the existing plan is up to date.
    """

    target: str
    model: str
    frames: Path
    onnx: tuple[Path, ...] = ()
    precisions: tuple[str, ...] = ("fp16",)
    dla: int | None = None
    timing_cache: Path | None = None
    repository: Path = MODEL_REPOSITORY
    if_needed: bool = False


def build_plan(settings: PlanSettings) -> Card:
    """Build the plan of a model, and write it with its card and config.pbtxt.

    Returns:
        The card of the plan.

    Raises:
        UserError: The machine is not the target, TensorRT or the driver is missing or has the
            wrong version, a candidate does not belong to the model, or every plan was rejected.
    """
    check_target(settings.target, settings.dla)
    model_dir = settings.repository / settings.model
    served = read_model_card(settings.repository, settings.model)
    onnx = settings.onnx or tuple(candidate_path(model_dir, p) for p in settings.precisions)
    candidates = {path: read_candidate(path, served, settings.dla) for path in onnx}
    frames = sample_frames(settings.frames, CHECK_FRAMES)
    plan = plan_path(model_dir)
    _create_build_dir(plan.parent)
    check_writable(plan)
    backend = find_plan_backend()
    machine = describe_gpu(settings.target)
    with exclusive_build_dir(plan.parent):
        card = None
        if settings.if_needed:
            card = _find_current_plan(plan, candidates.values(), machine["gpu"], backend, settings)
        if card:
            log.info("%s: plan is up to date; build skipped", plan)
        else:
            build = _PlanBuild(settings, backend, machine, frames, plan.parent)
            content, card = build.fastest(candidates)
            write_bytes(plan, content)
            # The card contains the plan's SHA-256, so a plan without its card is detected.
            card.write(card_path(plan.parent))
        _write_config(model_dir / "config.pbtxt", card)  # also after an interrupted build
    return card


@dataclass(frozen=True)
class _PlanBuild:
    """What all candidates of one build share.

    Attributes:
        settings: Settings of the build.
        backend: TensorRT.
        machine: `gpu` and `driver` of this machine, for the card.
        frames: Frames to check the plans on.
        directory: Directory for temporary plan files.
    """

    settings: PlanSettings
    backend: PlanBackend
    machine: dict[str, str]
    frames: list[Frame]
    directory: Path

    def fastest(self, candidates: Mapping[Path, Card]) -> tuple[bytes, Card]:
        """Build all candidates, and return the fastest accepted plan with its card.

        Raises:
            UserError: No candidate was accepted; the error is that of the first one.
        """
        accepted, errors = [], []
        for onnx, card in candidates.items():
            plan = self.directory / f".{onnx.stem}.plan"
            try:
                accepted.append(self._build(onnx, card, plan))
            except UserError as error:
                errors.append(error)
            finally:
                plan.unlink(missing_ok=True)
        for rejection in errors if accepted else errors[1:]:
            log.warning("%s", rejection)
        if not accepted:
            raise errors[0]
        content, card = min(accepted, key=lambda pair: float(pair[1].graph["median_ms"]))
        graph = {**card.graph, "candidates": _sorted_precisions(candidates.values())}
        return content, replace(card, graph=graph)

    def _build(self, onnx: Path, card: Card, plan: Path) -> tuple[bytes, Card]:
        """Build, check and time the plan of one candidate."""
        dla, version = self.settings.dla, self.backend.version
        tensors = [frame_to_tensor(f, card.input.height, card.input.width) for f in self.frames]
        expected = _run_onnx(onnx, tensors)
        if not (expected > card.threshold).any():
            raise UserError(
                f"{self.settings.frames}: the model finds no polyp on {len(tensors)} frames, so "
                "the plan cannot be checked: give a clip with polyps (--frames)"
            )
        log.info("%s: building a plan with TensorRT %s, this takes minutes", onnx, version)
        with timing_cache_copy(self._timing_cache()) as cache:
            self.backend.build(onnx, card, plan, dla, cache)
        actual, median_ms = self.backend.run(plan, card, tensors, dla)
        measured = compare_probabilities(actual, expected, card.threshold)
        check_agreement(onnx, measured)
        log.info(
            "%s: %.2f ms per frame, Dice with ONNX Runtime %.4f",
            onnx, median_ms, measured["agreement"],
        )  # fmt: skip
        content = plan.read_bytes()
        graph = {
            **card.graph,
            "precision": card.graph.get("precision", "fp32"),
            **self.machine,
            "tensorrt": version,
            "dla": dla,
            "max_batch": max_plan_batch(dla),
            "date": date.today().isoformat(),
            "median_ms": round(median_ms, 3),
            "timed_by": self.backend.describe_timing(dla),
            "sha256": sha256(content).hexdigest(),
            "plan": measured,
        }
        return content, replace(card, graph=graph, scores={})

    def _timing_cache(self) -> Path:
        gpu = re.sub(r"\W+", "-", self.machine["gpu"])
        name = f".timing.{gpu}.{self.backend.version}.cache"
        return self.settings.timing_cache or self.settings.repository / name


def _find_current_plan(
    plan: Path, cards: Collection[Card], gpu: str, backend: PlanBackend, settings: PlanSettings
) -> Card | None:
    """Return the card of an existing plan if a new build would have the same inputs.

    These are: the candidates, the GPU, the version of TensorRT and the DLA core. The driver may
    differ, because a plan does not depend on it.
    """
    existing = read_plan_card(plan)
    if existing is None or existing.graph.get("candidates") != _sorted_precisions(cards):
        return None
    machine = {"gpu": gpu, "tensorrt": backend.version, "dla": settings.dla}
    for card in cards:
        expected = {**card.graph, **machine}
        same_graph = all(existing.graph.get(key) == value for key, value in expected.items())
        if same_graph and _without_results(card) == _without_results(existing):
            return existing
    return None


def _without_results(card: Card) -> Card:
    return replace(card, graph={}, scores={})


def _sorted_precisions(cards: Iterable[Card]) -> list[str]:
    return sorted(str(card.graph.get("precision", "fp32")) for card in cards)


def _create_build_dir(directory: Path) -> None:
    if directory.is_dir():
        return
    check_writable(directory)
    try:
        directory.mkdir()
    except OSError as error:
        raise UserError(f"{directory}: cannot create the folder: {error.strerror}") from error


def _write_config(path: Path, card: Card) -> None:
    """Write config.pbtxt if it changes, which only a DLA core makes it do.

    It is not written without need, because it can be read-only in a container.
    """
    text = plan_config(card)
    if path.read_text(encoding="utf-8") != text:
        write_text(path, text)


def _run_onnx(onnx: Path, tensors: list[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Return the probabilities of ONNX Runtime, N x 1 x H x W."""
    inference = OnnxInference(onnx)
    try:
        return np.stack([inference.submit(t).result() for t in tensors])[:, None]
    finally:
        inference.close()
