"""`xpnet export tune`: finds the fastest form of each part of a network and records how.

Measured: each part is exported on its own with the features of a real frame, and its forms run
alternately, so that other load on the machine affects all alike. Then the whole network is
measured.
Estimated: for a device that is not present, by the least time that its arithmetic and memory allow
(training.bench.roofline).

`xpnet export --forms` uses the result.
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from tqdm import tqdm

from training.bench.layer_counts import Layer, layers
from training.bench.roofline import Device, seconds
from training.export.layer_forms import Forms, apply_forms, find_parts
from training.export.onnx_export import OPSET
from xpnet.card import Card
from xpnet.files import write_text
from xpnet.frames import Frame, frame_to_tensor
from xpnet.host.cpu import describe_machine
from xpnet.serving.cpu_runtimes import open_model

RUNS = 9
"""Runs of each form; the median counts."""
Run = Callable[[], Any]


@dataclass(frozen=True)
class Runtime:
    """What measures: a runtime of xpnet.serving.cpu_runtimes and its precision, fp32 or bf16."""

    name: str
    precision: str

    def __str__(self) -> str:
        return f"{self.name} {metadata.version(self.name)}, {self.precision}"


def measure_forms(network: nn.Module, frame: Frame, card: Card, runtime: Runtime) -> dict[str, Any]:
    """Measure the fastest form of each part at the card's size on this machine.

    Args:
        network: The network as trained.
        frame: A real frame, H x W x 3 uint8 RGB.
        card: Its card.
        runtime: What measures.

    Returns: `forms` (the fastest), `by`, machine, date, size, the `milliseconds` of all forms of
        each part, and those of the `whole` network as trained and in these forms. If they do not
        make the whole network faster, `forms` is empty.

    Raises:
        UserError: The runtime is not installed.
    """
    network = network.eval()
    frames = torch.from_numpy(frame_to_tensor(frame, card.input.height, card.input.width))
    with tempfile.TemporaryDirectory() as folder:

        def ready(module: nn.Module, given: Tensor) -> Run:
            return _ready(module, given, runtime, Path(folder))

        measured: dict[str, dict[str, float]] = {}
        for name, known in tqdm(find_parts(network).items(), "places", disable=None):
            given = _input_of(network, name, frames)
            measured[name] = _medians(
                {
                    f: ready(apply_forms(network, {name: f}).get_submodule(name), given)
                    for f in known
                }
            )
        forms = _fastest(measured)
        whole = _medians(
            {
                "as trained": ready(apply_forms(network, {}), frames),
                "in these forms": ready(apply_forms(network, forms), frames),
            }
        )
    faster = whole["in these forms"] < whole["as trained"]
    return {
        **_head(str(runtime), describe_machine(), card),
        "forms": forms if faster else {},
        "whole": whole,
        "milliseconds": measured,
    }


def estimate_forms(
    network: nn.Module, card: Card, device: Device, precision: str
) -> dict[str, Any]:
    """Estimate the fastest forms for a device: least milliseconds, none of them measured.

    Args:
        network: The network as trained.
        card: Its card.
        device: The device.
        precision: `fp32`, `fp16` or `int8`.

    Returns:
        As `tune`.
    """
    size = card.input.height, card.input.width

    def counted(forms: Forms) -> list[Layer]:
        return layers(apply_forms(network, forms), *size)

    def least(found: list[Layer], place: str = "") -> float:
        own = (x for x in found if not place or x.name == place or x.name.startswith(f"{place}."))
        return round(1000 * sum(seconds(layer, device, precision)[0] for layer in own), 4)

    known = find_parts(network)
    uniform = {
        form: counted({name: form for name, forms in known.items() if form in forms})
        for form in {form for forms in known.values() for form in forms}
    }
    table = {name: {f: least(uniform[f], name) for f in forms} for name, forms in known.items()}
    forms = _fastest(table)
    return {
        **_head(f"roofline, {precision}: counted, not measured", device.name, card),
        "forms": forms,
        "whole": {"as trained": least(counted({})), "in these forms": least(counted(forms))},
        "milliseconds": table,
    }


def as_lines(found: dict[str, Any]) -> list[str]:
    """Return lines: each part with the milliseconds of its forms, the chosen one marked."""
    lines = []
    for name, times in found["milliseconds"].items():
        chosen = found["forms"].get(name, "keep")
        cells = [f"{form} {ms:.3g}{'*' if form == chosen else ''}" for form, ms in times.items()]
        lines.append(f"{name:<24}{'   '.join(cells)}")
    whole = ", ".join(f"{name} {ms:.3g}" for name, ms in found["whole"].items())
    return [
        *lines,
        f"the whole network: {whole}",
        f"milliseconds at {found['height']} x {found['width']}, {found['by']}, {found['machine']}",
    ]


def write_forms(found: dict[str, Any], path: Path) -> None:
    """Write a result of `tune` as JSON."""
    write_text(path, json.dumps(found, indent=2) + "\n")


def _head(by: str, machine: str, card: Card) -> dict[str, Any]:
    return {
        "network": card.network,
        "by": by,
        "machine": machine,
        "date": date.today().isoformat(),
        "height": card.input.height,
        "width": card.input.width,
    }


def _fastest(table: dict[str, dict[str, float]]) -> Forms:
    """Return the fastest form of each part; a part that stays as trained is not listed."""
    best = {name: min(times, key=times.__getitem__) for name, times in table.items()}
    return {name: form for name, form in best.items() if form != "keep"}


def _input_of(network: nn.Module, name: str, frames: Tensor) -> Tensor:
    """Return the input of a submodule when the network processes these frames."""
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


def _ready(module: nn.Module, given: Tensor, runtime: Runtime, folder: Path) -> Run:
    path = folder / f"{len(list(folder.iterdir()))}.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # as in training.export.onnx_export
        torch.onnx.export(
            module.eval(),
            (given,),
            str(path),
            input_names=["x"],
            output_names=["y"],
            opset_version=OPSET,
            dynamo=False,
        )
    model = open_model(path, runtime.name, precision=runtime.precision)
    feed: dict[str, NDArray[np.float32]] = {"x": given.numpy()}
    return lambda: model.run(["y"], feed)


def _medians(runs: dict[str, Run]) -> dict[str, float]:
    """Return the median milliseconds of each, run alternately."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for run in runs.values():
        run()
    for _ in range(RUNS):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            times[name].append((time.perf_counter() - start) * 1000)
    return {name: round(statistics.median(t), 3) for name, t in times.items()}
