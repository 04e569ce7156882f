"""`xpnet tune`: measures every form of every place of a network, and records the fastest.

Each place is exported alone, with the features that a real frame has there, and its forms run by
turns in ONNX Runtime, so that what else the machine does meets them alike. The result is data: it
names the machine, the size and the times, and `xpnet export --forms` follows it.
"""

from __future__ import annotations

import io
import json
import statistics
import time
import warnings
from datetime import date
from pathlib import Path
from typing import Any

import onnxruntime
import torch
from torch import Tensor, nn
from tqdm import tqdm

from training.deploy import Forms, deploy, places
from training.export import OPSET
from xpnet.card import Card
from xpnet.errors import UserError
from xpnet.files import write_text
from xpnet.frames import Frame, frame_to_tensor
from xpnet.machine import describe_machine

RUNS = 9
"""Times of each form, of which the median counts."""


def tune(network: nn.Module, frame: Frame, card: Card) -> dict[str, Any]:
    """The fastest form of each place at the card's size, in ONNX Runtime on this machine.

    `frame` is a real one, H x W x 3 RGB uint8.

    Returns `forms`, the fastest, with the machine, the date, the size and `milliseconds` of all.
    """
    network = network.eval()
    frames = torch.from_numpy(frame_to_tensor(frame, card.input.height, card.input.width))
    measured = {}
    for name, known in tqdm(places(network).items(), "places", disable=None):
        given = _input_of(network, name, frames)
        sessions = {
            form: _session(deploy(network, {name: form}).get_submodule(name), given)
            for form in known
        }
        measured[name] = _medians(sessions, given)
    return {
        "runtime": f"onnxruntime {onnxruntime.__version__}",
        "machine": describe_machine(),
        "date": date.today().isoformat(),
        "height": frames.shape[-2],
        "width": frames.shape[-1],
        "forms": {name: min(times, key=times.__getitem__) for name, times in measured.items()},
        "milliseconds": measured,
    }


def as_lines(found: dict[str, Any]) -> list[str]:
    """For a person: each place with the milliseconds of its forms, the chosen one marked."""
    lines = []
    for name, times in found["milliseconds"].items():
        chosen = found["forms"][name]
        cells = [f"{form} {ms:.2f}{'*' if form == chosen else ''}" for form, ms in times.items()]
        lines.append(f"{name:<24}{'   '.join(cells)}")
    return [*lines, f"milliseconds at {found['height']} x {found['width']}, {found['machine']}"]


def write_forms(found: dict[str, Any], path: Path) -> None:
    """Writes what `tune` found, as JSON."""
    write_text(path, json.dumps(found, indent=2) + "\n")


def read_forms(path: Path) -> Forms:
    """The forms of a file of `xpnet tune`.

    Raises:
        UserError: no such file, or not one of those.
    """
    try:
        forms = json.loads(path.read_text(encoding="utf-8"))["forms"]
        return {str(name): str(form) for name, form in forms.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: not a file of `xpnet tune`: {error}") from error


def _input_of(network: nn.Module, name: str, frames: Tensor) -> Tensor:
    """What a submodule is given when the network sees these frames."""
    seen: list[Tensor] = []
    handle = network.get_submodule(name).register_forward_pre_hook(
        lambda _, inputs: seen.append(inputs[0])
    )
    try:
        with torch.inference_mode():
            network(frames)
    finally:
        handle.remove()
    return seen[0].clone()


def _session(module: nn.Module, given: Tensor) -> Any:
    content: Any = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # as in training.export
        torch.onnx.export(
            module.eval(), (given,), content, input_names=["x"], opset_version=OPSET, dynamo=False
        )
    return onnxruntime.InferenceSession(content.getvalue(), providers=["CPUExecutionProvider"])


def _medians(sessions: dict[str, Any], given: Tensor) -> dict[str, float]:
    """Milliseconds of each session, run by turns."""
    x = {"x": given.numpy()}
    times: dict[str, list[float]] = {form: [] for form in sessions}
    for session in sessions.values():
        session.run(None, x)
    for _ in range(RUNS):
        for form, session in sessions.items():
            start = time.perf_counter()
            session.run(None, x)
            times[form].append((time.perf_counter() - start) * 1000)
    return {form: round(statistics.median(t), 3) for form, t in times.items()}
