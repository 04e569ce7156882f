"""`xpnet doctor`: what is installed, what is missing, what that disables and how to install it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from importlib import metadata, util
from typing import Any

from xpnet.errors import UserError
from xpnet.host.nvidia_software import (
    DRIVER,
    NvidiaSoftware,
    detect_nvidia_software,
    find_mismatches,
)
from xpnet.paths import (
    BUNDLED_TRITON,
    IN_CHECKOUT,
    MODEL_REPOSITORY,
    server_command,
    setup_command,
)
from xpnet.serving.cpu_runtimes import OPENVINO_HINT, best_runtime
from xpnet.serving.triton_server import find_tritonserver, servable_models

SETUP, TRAIN_SETUP = setup_command(), setup_command("train")
ARCHIVE_SETUP = setup_command("archive")

MODELS_FIX = (
    "git checkout triton_models"
    if IN_CHECKOUT
    else "install the wheel again: pip install --force-reinstall --no-deps FILE.whl"
)


@dataclass(frozen=True)
class Check:
    """One part that was looked for.

    Attributes:
        needed: What does not work without it.
        required: Whether the demo needs it, or on a target whether it must be fixed.
        wrong: Whether it is installed but does not fit the other parts.
    """

    name: str
    ok: bool
    found: str
    needed: str
    how: str
    required: bool = True
    wrong: bool = False

    def line(self) -> str:
        """Return the check as a line for a person."""
        if self.ok:
            return f"  ok       {self.name:<24}{self.found}"
        mark, breaks, fix = "MISSING", "needed for", "install"
        if self.wrong:
            mark, breaks, fix = "WRONG  ", "affects", "fix"
        elif not self.required:
            mark = "absent "
        indent = "\n" + " " * 35
        return (
            f"  {mark}  {self.name:<24}{self.found}"
            f"{indent}{breaks}: {self.needed}{indent}{fix}: {self.how}"
        )


def checks() -> list[Check]:
    """Check everything except GStreamer, which the deepstream package checks."""
    graph, export = "xpnet run, evaluate", "xpnet train, export"
    return [
        _python(),
        _package("numpy", "numpy", "everything", SETUP),
        _package("cv2", "opencv-python-headless", "everything", SETUP),
        _package("onnxruntime", "onnxruntime", graph, SETUP),
        _openvino(),
        _package("tritonclient", "tritonclient", "inference through Triton", SETUP),
        _server(),
        _guarded("models", _models, "xpnet serve, run, evaluate", MODELS_FIX),
        _package("torch", "torch", export, TRAIN_SETUP, required=False),
        _package("albumentations", "albumentations", export, TRAIN_SETUP, required=False),
        _package("onnx", "onnx", export, TRAIN_SETUP, required=False),
        _package("ray", "ray", "xpnet archive", ARCHIVE_SETUP, required=False),
        _package("pyarrow", "pyarrow", "xpnet archive", ARCHIVE_SETUP, required=False),
        *target_checks(detect_nvidia_software()),
    ]


def as_json(found: list[Check]) -> list[dict[str, Any]]:
    """Return the checks as dictionaries, ready for JSON."""
    return [asdict(check) for check in found]


def _python() -> Check:
    version = ".".join(map(str, sys.version_info[:3]))
    fits = (3, 10) <= sys.version_info[:2] <= (3, 12)
    return Check("python", fits, version, "everything", "Python 3.10 to 3.12")


def _package(module: str, package: str, needed: str, how: str, required: bool = True) -> Check:
    if util.find_spec(module) is None:
        return Check(package, False, "not installed", needed, how, required)
    try:
        version = metadata.version(package)
    except metadata.PackageNotFoundError:
        version = "present, version unknown"
    return Check(package, True, version, needed, how, required)


def _openvino() -> Check:
    needed = "bfloat16 on CPUs that have it; ONNX Runtime computes instead"
    check = _package("openvino", "openvino", needed, OPENVINO_HINT, required=False)
    serves = f"{check.found}; {best_runtime()} serves on this CPU"
    return replace(check, found=serves) if check.ok else check


def _server() -> Check:
    """Check Triton. A wheel comes without it: `xpnet run --backend` then infers in its process."""
    how = SETUP if IN_CHECKOUT else server_command()
    check = _guarded("tritonserver", _tritonserver, "xpnet serve, and run's default", how)
    return replace(check, required=IN_CHECKOUT)


def _guarded(name: str, look: Callable[[], str], needed: str, how: str) -> Check:
    try:
        return Check(name, True, look(), needed, how)
    except UserError as error:
        return Check(name, False, str(error), needed, how)


def _tritonserver() -> str:
    binary, _ = find_tritonserver()
    stub = BUNDLED_TRITON / "backends" / "python" / "triton_python_backend_stub"
    if binary.is_relative_to(BUNDLED_TRITON) and not os.access(stub, os.X_OK):
        raise UserError(f"{stub} is missing or cannot be run")
    return str(binary)


def _models() -> str:
    return ", ".join(servable_models(MODEL_REPOSITORY, ()))


def target_checks(target: NvidiaSoftware) -> list[Check]:
    """Check NVIDIA's software: what is installed, and how to fix versions that do not fit together.

    Args:
        target: What was detected on this machine.
    """
    jetson = f"Jetson's Linux {target.l4t or 'of an unknown version'}" if target.jetson else None
    pyds = f"{target.pyds.version}" if target.pyds else None
    server = "with Triton" if target.triton else "without Triton"
    found = (
        (DRIVER, target.driver or jetson, "TensorRT and DeepStream; the CPU runs the rest",
         "a machine with an NVIDIA GPU"),
        ("DeepStream", target.deepstream, "deepstream-app; the GStreamer graph runs instead",
         "docs/compatibility.md"),
        ("JetPack", target.jetpack, None, ""),
        ("TensorRT", target.tensorrt, "TensorRT plans; the ONNX models serve instead",
         "comes with JetPack and with NVIDIA's containers"),
        ("nvinferserver", server if target.inferserver else None, None, ""),
        ("pyds", pyds, "DeepStream graph; the GStreamer graph runs instead",
         "comes with NVIDIA DeepStream, never from a package index"),
    )  # fmt: skip
    wrong = find_mismatches(target)
    names = {m.name for m in wrong}
    rows = [
        Check(name, what is not None, what or "not installed", needed or "", how, required=False)
        for name, what, needed, how in found
        if name not in names and (what is not None or needed)
    ]
    on_target = target.deepstream is not None
    return rows + [
        Check(m.name, False, m.found, m.breaks, m.fix, required=on_target, wrong=True)
        for m in wrong
    ]
