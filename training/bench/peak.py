"""What this CPU can do at most, measured: a product of matrices, and a copy in memory."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch

from xpnet.serving.cpu_runtimes import computes_bf16

MATRIX = 1536
"""Rows of the matrices: large enough that arithmetic, not memory, takes the time."""
COPY_VALUES = 1 << 25
"""Values of the copy, far more than any cache holds."""
REPEATS = 9


def measure_peak() -> dict[str, float]:
    """Return the highest rates of several tries.

    Returns:
        `fp32_gflops`, where a multiply-add is two operations; `bf16_gflops` on a CPU that computes
        in bfloat16; and `copy_gb_per_s`, read and written.
    """
    rates = {"fp32_gflops": _matrix_gflops(torch.float32)}
    if computes_bf16():
        rates["bf16_gflops"] = _matrix_gflops(torch.bfloat16)
    source = torch.ones(COPY_VALUES)
    target = torch.empty_like(source)
    seconds = _least_s(lambda: target.copy_(source))
    moved = 2 * source.numel() * source.element_size()
    return {**rates, "copy_gb_per_s": round(moved / seconds / 1e9, 1)}


def _matrix_gflops(kind: torch.dtype) -> float:
    left, right = (torch.rand(MATRIX, MATRIX).to(kind) for _ in range(2))
    seconds = _least_s(lambda: left @ right)
    return round(2 * MATRIX**3 / seconds / 1e9, 1)


def _least_s(call: Callable[[], Any]) -> float:
    """Return the shortest time of several calls, in seconds."""
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times)
