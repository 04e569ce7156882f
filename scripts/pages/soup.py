"""The list of software of others (SOUP) of docs/safety-notes.md, from the pinned requirements."""

from __future__ import annotations

import re
from pathlib import Path

from scripts.pages.markdown import table
from xpnet.errors import UserError
from xpnet.paths import ROOT

PIN = re.compile(r"^([A-Za-z0-9_.-]+)==([^\s;]+)")
PURPOSES = {
    # what each package of requirements.txt does in a run
    "numpy": "arrays of frames, maps and masks",
    "opencv-python-headless": "scaling, contours, drawing, reading images",
    "onnxruntime": "inference on CPUs without bfloat16, reference for plans",
    "openvino": "inference on CPUs with bfloat16",
    "tritonclient": "requests to the Triton server, shared memory",
    "polygraphy": "runs TensorRT engines for evaluation and checks",
    "grpcio": "transport of the Triton client",
    "protobuf": "messages of the Triton client, model configuration",
    "python-rapidjson": "JSON of the Triton client",
    "packaging": "dependency of onnxruntime",
    "tqdm": "progress bars",
    "coloredlogs": "dependency of onnxruntime; no use in a run",
    "humanfriendly": "dependency of coloredlogs",
    "flatbuffers": "dependency of onnxruntime",
    "sympy": "dependency of onnxruntime",
    "mpmath": "dependency of sympy",
    "setuptools": "installation",
    "setuptools-scm": "version of the project from git tags",
    "tomli": "dependency of setuptools-scm on Python 3.10",
}
GROUPS = {
    "train": "training and export; makes the weights and the ONNX files",
    "engines": "FP16 and INT8 graphs, TensorRT-RTX engines",
    "bench": "plots of measurements",
    "nvds": "tests of the DeepStream probe",
    "archive": "`xpnet archive`: processes and Parquet files",
    "release": "SBOM and licences of a release",
    "docs": "the site of these pages",
    "dev": "tests and linters",
}
"""What the packages of requirements-GROUP.txt are for; none of them is needed by a run."""


def pins(path: Path) -> dict[str, str]:
    """Return the packages of a requirements file with their versions.

    Args:
        path: The file.

    Raises:
        UserError: A line pins no version.
    """
    found = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        pin = PIN.match(line)
        if pin is None:
            raise UserError(f"{path}: '{line}': expected NAME==VERSION")
        found[pin[1]] = pin[2]
    return found


def run_table() -> list[str]:
    """Return the table of the packages that a run uses.

    Raises:
        UserError: A package has no purpose here, or a purpose belongs to no package.
    """
    found = pins(ROOT / "requirements.txt")
    if found.keys() != PURPOSES.keys():
        names = ", ".join(sorted(found.keys() ^ PURPOSES.keys()))
        raise UserError(f"requirements.txt and scripts/pages/soup.py differ in: {names}")
    return table(("package", "version", "purpose"),
                 [(name, version, PURPOSES[name]) for name, version in found.items()])  # fmt: skip


def groups_table() -> list[str]:
    """Return the table of the other requirements files.

    Raises:
        UserError: A file has no purpose here, or a purpose belongs to no file.
    """
    files = {p.stem.removeprefix("requirements-"): p for p in ROOT.glob("requirements-*.txt")}
    if files.keys() != GROUPS.keys():
        names = ", ".join(sorted(files.keys() ^ GROUPS.keys()))
        raise UserError(f"requirements-*.txt and scripts/pages/soup.py differ in: {names}")
    rows = []
    for group, purpose in GROUPS.items():
        packages = ", ".join(f"{n} {v}" for n, v in pins(files[group]).items())
        rows.append((f"`{files[group].name}`", purpose, packages))
    return table(("file", "for", "packages"), rows)
