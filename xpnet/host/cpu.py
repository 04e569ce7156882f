"""Describes the processor: every measured figure names the machine."""

from __future__ import annotations

import os
import platform
from datetime import date
from pathlib import Path

INSTRUCTION_SETS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "asimd")


def cpu_flags() -> list[str]:
    """Return the CPU's feature flags as Linux names them; empty if unknown."""
    return _cpuinfo("flags").split() or _cpuinfo("Features").split()


def describe_machine() -> str:
    """Return architecture, processor and the instruction sets that determine a network's speed."""
    name = _cpuinfo("model name") or "unknown processor"
    return f"{platform.machine()}, {name}, {' '.join(_instruction_sets())}"


def measured_here() -> dict[str, str | int]:
    """Return what every report of a measurement states: `machine`, `cores` (usable), `date`."""
    return {
        "machine": describe_machine(),
        "cores": len(os.sched_getaffinity(0)),
        "date": date.today().isoformat(),
    }


def machine_type() -> str:
    """Return what machines have in common whose runtimes compute a network in the same way."""
    return " ".join([platform.machine(), *_instruction_sets()])


def _instruction_sets() -> list[str]:
    flags = cpu_flags()
    return [name for name in INSTRUCTION_SETS if name in flags]


def _cpuinfo(key: str) -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    return next((x.split(":", 1)[1].strip() for x in lines if x.startswith(key)), "")
