"""The GPU and driver of this machine, and whether it is a target of a given kind."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from pathlib import Path

from xpnet.errors import UserError
from xpnet.host.nvidia_software import detect_nvidia_software

ARCHITECTURES = {"rtx": "x86_64", "jetson": "aarch64"}
"""Machine architecture by target."""
JETSON_LINUX = "Jetson Linux"
"""Recorded in place of the driver on a Jetson, so that a plan's card names the kind of machine."""
DRIVER_S = 30.0
"""Timeout of nvidia-smi, which hangs if the driver hangs."""
JETSON_MODELS = (Path("/proc/device-tree/model"), Path("/etc/jetson-model"))
"""Files with a Jetson's name; Docker hides the first, jetson/compose.yaml mounts the second."""


def check_target(target: str, dla: int | None) -> None:
    """Check that this machine is a target of the given kind.

    Args:
        target: `rtx` or `jetson`.
        dla: Number of a DLA core, or None.

    Raises:
        UserError: It is another kind of machine, or has no such DLA core.
    """
    if dla is not None and (target != "jetson" or dla not in (0, 1)):
        raise UserError(f"--dla {dla}: expected 0 or 1, with --target jetson: an Orin has two")
    wanted, found = ARCHITECTURES[target], platform.machine()
    if found != wanted:
        raise UserError(f"--target {target}: expected a machine of {wanted}, found {found}")
    if target == "jetson" and not detect_nvidia_software().jetson:
        raise UserError(
            "--target jetson: expected a Jetson with JetPack, found no /etc/nv_tegra_release"
        )


def describe_gpu(target: str) -> dict[str, str]:
    """Return `gpu` and `driver` of this machine, for the card of a plan.

    Args:
        target: `rtx` or `jetson`.

    Raises:
        UserError: There is no NVIDIA driver, it finds no GPU, or it finds several kinds.
    """
    if target == "jetson":
        found = next((path for path in JETSON_MODELS if path.is_file()), None)
        if found is None:
            files = " or ".join(map(str, JETSON_MODELS))
            raise UserError(f"no {files}: the Jetson's model is unknown")
        model = found.read_text(encoding="utf-8").strip("\x00\n ")
        return {"gpu": model, "driver": f"{JETSON_LINUX} {detect_nvidia_software().l4t}"}
    program = shutil.which("nvidia-smi")
    if program is None:
        raise UserError("no nvidia-smi: a plan is built on the GPU that runs it, with its driver")
    command = [program, "--query-gpu=name,driver_version,uuid", "--format=csv,noheader"]
    try:
        result = subprocess.run(
            command, capture_output=True, text=True, timeout=DRIVER_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UserError(f"nvidia-smi finds no GPU: {error}") from error
    rows = [row for line in result.stdout.splitlines() if len(row := line.rsplit(", ", 2)) == 3]
    if result.returncode or not rows:
        reason = (result.stderr or result.stdout).strip().splitlines()[:1]
        raise UserError(f"nvidia-smi finds no GPU: {(reason or ['no output'])[0]}")
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES", "").partition(",")[0]
    if chosen.startswith("GPU-"):
        rows = [row for row in rows if row[2].startswith(chosen)] or rows
    names = sorted({name for name, _, _ in rows})
    if len(names) > 1:  # CUDA orders them differently from nvidia-smi
        raise UserError(
            f"several kinds of GPU: {', '.join(names)}: choose one by its UUID in "
            "CUDA_VISIBLE_DEVICES (nvidia-smi -L)"
        )
    name, driver, _ = rows[0]
    return {"gpu": name, "driver": driver}
