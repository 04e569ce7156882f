"""`xpnet export tune`: the fastest form of every place of a network, and a record of how it was found.

Measured: each place is exported alone, with the features that a real frame has there, and its
forms run by turns, so that what else the machine does meets them alike; then the whole network,
since what lies between two places counts, too. Counted: for a device that is not here, by the least
time that its arithmetic and its memory allow (training.bench.roofline).

The result is data, which `xpnet export --forms` follows.
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
from training.export.layer_forms import Forms, deploy, places
from training.export.onnx_export import OPSET
from xpnet.card import Card
from xpnet.files import write_text
from xpnet.frames import Frame, frame_to_tensor
from xpnet.host.cpu import describe_machine
from xpnet.serving.cpu_runtimes import open_model

RUNS = 9
"""Times of each form, of which the median counts."""
Run = Callable[[], Any]


@dataclass(frozen=True)
class Runtime:
    """What measures: a runtime of xpnet.serving.cpu_runtimes, and its precision, fp32 or bf16."""

    name: str
    precision: str

    def __str__(self) -> str:
        return f"{self.name} {metadata.version(self.name)}, {self.precision}"


def tune(network: nn.Module, frame: Frame, card: Card, runtime: Runtime) -> dict[str, Any]:
    """The fastest form of each place at the card's size, on this machine.

    `frame` is a real one, H x W x 3 RGB uint8.

    Returns `forms`, the fastest, with `by`, the machine, the date, the size, the `milliseconds` of
    all forms of each place, and of the `whole` network as trained and in these forms. Where they do
    not make the whole faster, `forms` is empty.

    Raises:
        UserError: the runtime is not installed.
    """
    network = network.eval()
    frames = torch.from_numpy(frame_to_tensor(frame, card.input.height, card.input.width))
    with tempfile.TemporaryDirectory() as folder:

        def ready(module: nn.Module, given: Tensor) -> Run:
            return _ready(module, given, runtime, Path(folder))

        measured: dict[str, dict[str, float]] = {}
        for name, known in tqdm(places(network).items(), "places", disable=None):
            given = _input_of(network, name, frames)
            measured[name] = _medians(
                {f: ready(deploy(network, {name: f}).get_submodule(name), given) for f in known}
            )
        forms = _fastest(measured)
        whole = _medians(
            {
                "as trained": ready(deploy(network, {}), frames),
                "in these forms": ready(deploy(network, forms), frames),
            }
        )
    faster = whole["in these forms"] < whole["as trained"]
    return {
        **_head(str(runtime), describe_machine(), card),
        "forms": forms if faster else {},
        "whole": whole,
        "milliseconds": measured,
    }


def tune_on_paper(network: nn.Module, card: Card, device: Device, precision: str) -> dict[str, Any]:
    """As `tune`, but counted for a device: least milliseconds, of which none was measured.

    `precision` is fp32, fp16 or int8.
    """
    size = card.input.height, card.input.width

    def counted(forms: Forms) -> list[Layer]:
        return layers(deploy(network, forms), *size)

    def least(found: list[Layer], place: str = "") -> float:
        own = (x for x in found if not place or x.name == place or x.name.startswith(f"{place}."))
        return round(1000 * sum(seconds(layer, device, precision)[0] for layer in own), 4)

    known = places(network)
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
    """For a person: each place with the milliseconds of its forms, the chosen one marked."""
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
    """Writes what `tune` found, as JSON."""
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
    """The form of the least time of each place; one that is as trained is not named."""
    best = {name: min(times, key=times.__getitem__) for name, times in table.items()}
    return {name: form for name, form in best.items() if form != "keep"}


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
    """Milliseconds of each, run by turns."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for run in runs.values():
        run()
    for _ in range(RUNS):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            times[name].append((time.perf_counter() - start) * 1000)
    return {name: round(statistics.median(t), 3) for name, t in times.items()}
