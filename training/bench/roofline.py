"""`xpnet bench roofline`: the least time per frame that a device's arithmetic and memory allow.

For each convolution the multiply-adds and the bytes (input, weights, output) are counted; a device
needs at least as long as the slower of the two (Williams et al., Roofline, CACM 2009). Batch norm,
activation and addition are taken as fused, as TensorRT does, and concatenation as free; pooling,
interpolation and attention are not counted. A real engine takes longer: this is a lower bound, not
a measurement.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from training.bench.layer_counts import Layer, layers
from training.export.layer_forms import apply_forms, included_forms
from training.models.zoo import NETWORKS
from xpnet.errors import UserError
from xpnet.figures import new_figure, save_figure

BYTES = {"fp32": 4, "fp16": 2, "int8": 1}
"""Bytes of one value, activations and weights alike."""
PAPER = {"RTX 3070 Laptop": 60.0, "RTX 3090": 120.0}
"""Frames per second that the paper reports for its student with TensorRT."""


@dataclass(frozen=True)
class Device:
    """Peak dense rates: operations per second (a multiply-add is two) and bytes per second."""

    name: str
    fp32: float
    fp16: float
    int8: float
    bandwidth: float
    source: str

    def rate(self, precision: str) -> float:
        """Return the operations per second in fp32, fp16 or int8."""
        return {"fp32": self.fp32, "fp16": self.fp16, "int8": self.int8}[precision]


def find_device(name: str) -> Device:
    """Return the device of this name. Raises UserError if the table does not list it."""
    known = {device.name: device for device in DEVICES}
    if name not in known:
        raise UserError(f"device '{name}': expected one of {', '.join(known)}")
    return known[name]


T, G = 1e12, 1e9
GA102 = "NVIDIA Ampere GA102 whitepaper v2.0"
ORIN = "NVIDIA Jetson AGX Orin technical brief v1.2"
DEVICES = (
    # GeForce: streaming multiprocessors x operations per clock x boost clock; fp16 by the tensor
    # cores with fp16 accumulation. Jetson: half the sparse values of the data sheets, GPU only.
    Device("RTX 3070 Laptop", 16.6 * T, 66.4 * T, 132.7 * T, 448 * G,
           f"{GA102}: 40 SM at 1.62 GHz, 256 bit at 14 Gbit/s"),
    Device("RTX 3090", 35.6 * T, 142 * T, 284 * T, 936 * G, f"{GA102}, appendix A"),
    Device("RTX 4070 Laptop", 20.0 * T, 80.2 * T, 160.4 * T, 256 * G,
           "NVIDIA Ada whitepaper v2.1: 36 SM at 2.175 GHz, 128 bit at 16 Gbit/s"),
    Device("Jetson Orin Nano 8GB", 1.28 * T, 10 * T, 20 * T, 68 * G,
           "NVIDIA Jetson Orin Nano data sheet: 1,024 cores at 625 MHz, 40 sparse TOPS"),
    Device("Jetson Orin NX 16GB", 1.88 * T, 15 * T, 30 * T, 102.4 * G,
           "NVIDIA Jetson Orin NX data sheet: 1,024 cores at 918 MHz, 60 sparse TOPS of the GPU"),
    Device("Jetson AGX Orin 64GB", 5.3 * T, 42.5 * T, 85 * T, 204.8 * G,
           f"{ORIN}: 2,048 cores at 1.3 GHz, 170 sparse TOPS of the GPU"),
    Device("H100 SXM", 67 * T, 989 * T, 1979 * T, 3350 * G, "NVIDIA H100 data sheet"),
)  # fmt: skip


TUNED = "student, tuned"
"""The student in the forms that are exported for a GPU (training.export.layer_forms)."""
SHOWN = ("unet", "teacher", "student", TUNED, "lite")
"""The networks that are compared; teacher 3 is not deployed."""


def seconds(layer: Layer, device: Device, precision: str) -> tuple[float, str]:
    """Return the least time of one layer, and its bound: `arithmetic` or `memory`."""
    arithmetic = 2 * layer.multiply_adds / device.rate(precision)
    memory = layer.values * BYTES[precision] / device.bandwidth
    return max((arithmetic, "arithmetic"), (memory, "memory"))


def roofline(size: int) -> dict[str, Any]:
    """Return the bound for each network, device and precision, for frames of size x size.

    A row has `least_ms`, `most_fps`, and `bound_by_memory`, the share of that time. `parts`
    contains the parts of the student's time in fp16, by device.

    Args:
        size: Height and width in pixels.

    Raises:
        ValueError: The size is not divisible by 16.
    """
    counted = {name: layers(_network(name), size, size) for name in SHOWN}
    rows = []
    for name, found in counted.items():
        for device in DEVICES:
            for precision in BYTES:
                times = [seconds(layer, device, precision) for layer in found]
                total = sum(t for t, _ in times)
                memory = sum(t for t, bound in times if bound == "memory")
                rows.append(
                    {
                        "network": name,
                        "device": device.name,
                        "precision": precision,
                        "least_ms": total * 1000,
                        "most_fps": 1 / total,
                        "bound_by_memory": memory / total,
                    }
                )
    return {
        "size": size,
        "devices": [vars(device) for device in DEVICES],
        "paper_fps": PAPER,
        "counts": {
            name: {
                "multiply_adds": sum(layer.multiply_adds for layer in found),
                "values_moved": sum(layer.values for layer in found),
            }
            for name, found in counted.items()
        },
        "rows": rows,
        "parts": {d.name: _parts(counted["student"], d) for d in DEVICES},
    }


def _network(name: str) -> nn.Module:
    if name == TUNED:
        return apply_forms(NETWORKS["student"](), included_forms("student", "fp16"))
    return NETWORKS[name]()


def as_lines(found: dict[str, Any]) -> list[str]:
    """Return lines for a person: largest frame rate in fp16 and int8, and the student's parts."""
    table = {(r["network"], r["device"], r["precision"]): r for r in found["rows"]}
    lines = [
        f"frames a second at most at {found['size']} x {found['size']}, one frame at a time, "
        "fp16 / int8; (m): bound by memory",
        f"{'':<22}{''.join(f'{name:>18}' for name in SHOWN)}",
    ]
    for device in DEVICES:
        cells = []
        for name in SHOWN:
            half, byte = (table[name, device.name, p] for p in ("fp16", "int8"))
            mark = " (m)" if half["bound_by_memory"] > 0.5 else ""
            cells.append(f"{half['most_fps']:.0f} / {byte['most_fps']:.0f}{mark}")
        lines.append(f"{device.name:<22}{''.join(f'{cell:>18}' for cell in cells)}")
    for name, fps in PAPER.items():
        lines.append(f"the paper's student on {name}: {fps:.0f} a second, measured there")
    first = DEVICES[0].name
    parts = sorted(found["parts"][first].items(), key=lambda item: -item[1])
    shares = ", ".join(f"{name} {share:.0%}" for name, share in parts[:6])
    lines.append(f"the student's time on {first} in fp16: {shares}")
    return lines


def draw(found: dict[str, Any], path: Path) -> None:
    """Draw the largest frame rate of each network and device as .png, .svg or .pdf.

    Args:
        found: A result of `roofline`.
        path: Picture to write.

    Raises:
        UserError: An unknown suffix, or the file cannot be written.
    """
    figure = new_figure(10, 5)
    axes = figure.subplots()
    width = 0.8 / len(SHOWN)
    names = [device.name for device in DEVICES]
    for i, network in enumerate(SHOWN):
        fps = [
            r["most_fps"]
            for r in found["rows"]
            if (r["network"], r["precision"]) == (network, "fp16")
        ]
        axes.bar([x + i * width for x in range(len(names))], fps, width, label=network)
    for name, measured in PAPER.items():
        x = names.index(name) + SHOWN.index("student") * width
        axes.plot([x], [measured], "kv", label="paper's student, measured" if x < 1 else None)
    axes.set_yscale("log")
    axes.set_xticks([x + 0.3 for x in range(len(names))], names, rotation=20, ha="right")
    axes.set_ylabel("frames a second, at most")
    axes.set_title(f"Roofline at {found['size']} x {found['size']}, fp16: counted, not measured")
    axes.grid(axis="y", alpha=0.3)
    axes.legend()
    save_figure(figure, path)


def _parts(found: list[Layer], device: Device) -> dict[str, float]:
    """Return the share of each part in the student's least time, in fp16."""
    times: dict[str, float] = defaultdict(float)
    for layer in found:
        times[_part(layer.name)] += seconds(layer, device, "fp16")[0]
    total = sum(times.values())
    return {name: value / total for name, value in times.items()}


def _part(name: str) -> str:
    """Return the part of a layer: `encoders.0.1.scales.2` is EPSA, `decoders.3.0` is decoder 1."""
    kind, _, rest = name.partition(".")
    level = int(rest.split(".")[0]) if kind in ("encoders", "decoders", "ups") else 0
    if ".scales." in name or ".weights." in name:
        return "EPSA"
    if kind == "encoders":
        return f"encoder {level + 1}"
    if kind in ("decoders", "ups"):
        return f"decoder {4 - level}"
    return kind
