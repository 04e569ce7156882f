"""Load of the processor and of the GPU, where the machine tells it."""

from __future__ import annotations

import contextlib
import ctypes
from pathlib import Path

STAT = Path("/proc/stat")
JETSON_LOAD = (
    Path("/sys/devices/platform/gpu.0/load"),
    Path("/sys/devices/gpu.0/load"),
)
"""Load of a Jetson's GPU in per mille, by kernel."""


class _Utilization(ctypes.Structure):
    """nvmlUtilization_t (nvml.h): percent of the last sample period."""

    _fields_ = [("gpu", ctypes.c_uint), ("memory", ctypes.c_uint)]


class CpuLoad:
    """Share of the machine's processor time that was used between two calls.

    Args:
        stat: The file with the kernel's counts.
    """

    def __init__(self, stat: Path = STAT) -> None:
        self._stat = stat
        self._before = self._read()

    def share(self) -> float | None:
        """Return the share since the last call, in [0, 1]; None if no time has passed."""
        before, self._before = self._before, self._read()
        total, idle = (now - then for now, then in zip(self._before, before, strict=True))
        return (total - idle) / total if total > 0 else None

    def _read(self) -> tuple[int, int]:
        """Return all time and idle time, in ticks of all cores (proc(5))."""
        words = self._stat.read_text(encoding="ascii").split("\n", 1)[0].split()[1:9]
        ticks = [int(word) for word in words]
        return sum(ticks), ticks[3] + ticks[4]


def gpu_load(
    jetson: tuple[Path, ...] = JETSON_LOAD, library: str = "libnvidia-ml.so.1"
) -> float | None:
    """Return the load of the first GPU in [0, 1]; None if the machine does not tell it.

    Args:
        jetson: Files in which a Jetson's kernel tells it.
        library: NVIDIA's management library of other GPUs.
    """
    for path in jetson:
        with contextlib.suppress(OSError, ValueError):
            return int(path.read_text(encoding="ascii")) / 1000
    try:
        nvml = ctypes.CDLL(library)
        device, used = ctypes.c_void_p(), _Utilization()
        if (
            nvml.nvmlInit_v2() == 0
            and nvml.nvmlDeviceGetHandleByIndex_v2(0, ctypes.byref(device)) == 0
            and nvml.nvmlDeviceGetUtilizationRates(device, ctypes.byref(used)) == 0
        ):
            return used.gpu / 100
    except (OSError, AttributeError):
        pass
    return None
