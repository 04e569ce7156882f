"""`xpnet bench network --device cuda`: times each form of the networks on an NVIDIA GPU.

Half precision, channels last, one CUDA graph per frame or batch: what a TensorRT plan does, without
its fusions, so a plan is faster. The forms of the student are compared on the same device, and with
the TensorRT plans and TensorRT-RTX engines that are there.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from training.export.layer_forms import apply_forms, find_parts, included_forms
from training.models.zoo import NETWORKS
from xpnet.bench.engine_times import time_engines
from xpnet.card import STRIDE
from xpnet.errors import UserError

WARM_UP = 5
REPEATS = 60
COPY_VALUES = 1 << 27
"""Values of the copy that measures the memory's rate."""


def bench_gpu(
    names: list[str], sizes: list[int], batches: list[int], engines: list[Path]
) -> dict[str, Any]:
    """Time the networks with fresh weights, which take the same time as trained ones.

    Args:
        names: Keys of NETWORKS.
        sizes: Heights and widths in pixels.
        batches: Numbers of frames per call.
        engines: TensorRT plans and TensorRT-RTX engines.

    Returns:
        `device`, `torch`, `date`, `copy_gb_per_s`, `rows` with `network`, `form`, `size`, `batch`,
        `ms` (median of one call) and `frames_per_s`, and `engines` and `left_out` as
        xpnet.bench.engine_times.time_engines returns them.

    Raises:
        UserError: A network is unknown, a size is not a multiple of 16, or there is no NVIDIA GPU.
    """
    unknown = [name for name in names if name not in NETWORKS]
    if unknown:
        raise UserError(f"network '{unknown[0]}': expected some of {', '.join(NETWORKS)}")
    wrong = [size for size in sizes if size < STRIDE or size % STRIDE]
    if wrong:
        raise UserError(f"size {wrong[0]}: expected a multiple of {STRIDE}")
    if min(batches) < 1:
        raise UserError(f"--batches {min(batches)}: expected at least 1")
    if not torch.cuda.is_available():
        raise UserError("device cuda: no NVIDIA GPU found; expected one with its driver")
    torch.backends.cudnn.benchmark = True
    rows = []
    for name in names:
        for form, network in _forms(name):
            half: nn.Module = network.cuda().half().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
            for size in sizes:
                for batch in batches:
                    ms = _time_network(half, size, batch)
                    rows.append(
                        {
                            "network": name,
                            "form": form,
                            "size": size,
                            "batch": batch,
                            "ms": round(ms, 3),
                            "frames_per_s": round(batch * 1000 / ms),
                        }
                    )
            half.cpu()
    engine_rows, left_out = time_engines(engines)
    return {
        "device": torch.cuda.get_device_name(),
        "torch": torch.__version__,
        "date": date.today().isoformat(),
        "copy_gb_per_s": round(_measure_copy()),
        "rows": rows,
        "engines": engine_rows,
        "left_out": left_out,
    }


def gpu_table(found: dict[str, Any]) -> str:
    """Return the rows of `bench_gpu` as a Markdown table."""
    lines = ["| network | form | size | batch | ms | frames/s |", "|---|---|---|---|---|---|"]
    lines += [
        f"| {r['network']} | {r['form']} | {r['size']} | {r['batch']} | {r['ms']:.3f} "
        f"| {r['frames_per_s']} |"
        for r in found["rows"]
    ]
    if found.get("engines"):
        lines += [
            "",
            "| engine | library | precision | size | ms, with copies | frames/s |",
            "|---|---|---|---|---|---|",
        ]
        lines += [
            f"| {r['engine']} | {r['library']} | {r['precision']} | {r['size']} | {r['ms']:.3f} "
            f"| {r['frames_per_s']} |"
            for r in found["engines"]
        ]
    lines += [
        "",
        f"{found['device']}, torch {found['torch']}, FP16, CUDA graph, {found['date']}; a copy in "
        f"its memory moves {found['copy_gb_per_s']} GB/s",
    ]
    if found.get("left_out"):
        lines += ["", *(f"- Left out: {reason}" for reason in found["left_out"])]
    return "\n".join(lines) + "\n"


def _forms(name: str) -> Iterator[tuple[str, nn.Module]]:
    """Return the forms of a network, with folded batch norms, each with its name."""
    network = NETWORKS[name]().eval()
    yield "as trained", apply_forms(network, {})
    parts = find_parts(network)
    if not parts:
        return
    chosen = included_forms(name, "fp16")
    if chosen:
        yield "included for GPUs", apply_forms(network, chosen)
    yield "merged", apply_forms(network, merged_forms(parts))


def merged_forms(parts: dict[str, tuple[str, ...]]) -> dict[str, str]:
    """Return the forms that merge each part into one dense convolution.

    Args:
        parts: As training.export.layer_forms.find_parts returns them.
    """
    return {name: "merge" if "merge" in forms else "dense" for name, forms in parts.items()}


@torch.inference_mode()
def _time_network(network: nn.Module, size: int, batch: int) -> float:
    frames = torch.rand(batch, 3, size, size, device="cuda").half()
    frames = frames.to(memory_format=torch.channels_last)
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        for _ in range(3):
            network(frames)
    stream.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=stream):
        network(frames)
    return _time(graph.replay)


def _measure_copy() -> float:
    """Return the rate of a copy in the device's memory, read and written, in GB/s."""
    source = torch.empty(COPY_VALUES, device="cuda")
    target: Tensor = torch.empty_like(source)
    ms = _time(lambda: target.copy_(source))
    return 2 * source.numel() * source.element_size() / ms / 1e6


def _time(call: Callable[[], Any]) -> float:
    """Return the median time of a call on the device, in milliseconds."""
    times = []
    for number in range(WARM_UP + REPEATS):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        call()
        end.record()
        end.synchronize()
        if number >= WARM_UP:
            times.append(start.elapsed_time(end))
    return statistics.median(times)
