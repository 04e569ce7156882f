"""The machine that an engine is built on: which GPU, which driver, and whether it is the target."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from pathlib import Path

from xpnet.errors import UserError
from xpnet.host.nvidia_software import look

ARCHITECTURES = {"rtx": "x86_64", "jetson": "aarch64"}
"""What may be built for, and the architecture of such machines."""
JETSON_LINUX = "Jetson Linux"
"""Takes the place of a driver there; so a plan's card tells which kind of machine built it."""
DRIVER_S = 30.0
"""How long nvidia-smi may take: a driver that hangs lets it hang, too."""
JETSON_MODELS = (Path("/proc/device-tree/model"), Path("/etc/jetson-model"))
"""Where a Jetson's name stands; Docker hides the first, jetson/compose.yaml hands in the second."""


def check_target(target: str, dla: int | None) -> None:
    """Raises UserError unless this machine is of the kind of `target`, and has such a thing."""
    if dla is not None and (target != "jetson" or dla not in (0, 1)):
        raise UserError(f"--dla {dla}: expected 0 or 1, with --target jetson: an Orin has two")
    wanted, found = ARCHITECTURES[target], platform.machine()
    if found != wanted:
        raise UserError(f"--target {target}: expected a machine of {wanted}, this one is {found}")
    if target == "jetson" and not look().jetson:
        raise UserError("--target jetson: no /etc/nv_tegra_release: this is no Jetson with JetPack")


def describe_gpu(target: str) -> dict[str, str]:
    """`gpu` and `driver` of this machine, for the card of a plan.

    Raises:
        UserError: there is no NVIDIA driver, it sees no GPU, or it sees several kinds.
    """
    if target == "jetson":
        found = next((path for path in JETSON_MODELS if path.is_file()), None)
        if found is None:
            raise UserError(f"no {' or '.join(map(str, JETSON_MODELS))}: which Jetson is this?")
        model = found.read_text(encoding="utf-8").strip("\x00\n ")
        return {"gpu": model, "driver": f"{JETSON_LINUX} {look().l4t}"}
    program = shutil.which("nvidia-smi")
    if program is None:
        raise UserError("no nvidia-smi: a plan is built on the GPU that runs it, with its driver")
    command = [program, "--query-gpu=name,driver_version,uuid", "--format=csv,noheader"]
    try:
        result = subprocess.run(
            command, capture_output=True, text=True, timeout=DRIVER_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UserError(f"nvidia-smi sees no GPU: {error}") from error
    rows = [row for line in result.stdout.splitlines() if len(row := line.rsplit(", ", 2)) == 3]
    if result.returncode or not rows:
        reason = (result.stderr or result.stdout).strip().splitlines()[:1]
        raise UserError(f"nvidia-smi sees no GPU: {(reason or ['it says nothing'])[0]}")
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES", "").partition(",")[0]
    if chosen.startswith("GPU-"):
        rows = [row for row in rows if row[2].startswith(chosen)] or rows
    names = sorted({name for name, _, _ in rows})
    if len(names) > 1:  # CUDA counts them in another order than nvidia-smi
        raise UserError(
            f"several kinds of GPU here: {', '.join(names)}: choose one by its UUID in "
            "CUDA_VISIBLE_DEVICES (nvidia-smi -L)"
        )
    name, driver, _ = rows[0]
    return {"gpu": name, "driver": driver}
