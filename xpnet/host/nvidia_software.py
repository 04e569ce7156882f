"""NVIDIA's software on this machine, and whether its versions fit together.

`detect_nvidia_software` reads files below a root and calls functions that are passed to it, so that
tests can present any machine. `find_mismatches` compares the result with
`xpnet.host.compatibility`.
"""

from __future__ import annotations

import platform
import re
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata, util
from pathlib import Path

from xpnet.host.compatibility import RELEASES, Release, matches_version_prefix, release_of

DEEPSTREAM = Path("opt/nvidia/deepstream/deepstream")
INFERSERVER = DEEPSTREAM / "lib/gst-plugins/libnvdsgst_inferserver.so"
TRITON_LIBRARIES = (
    Path("opt/tritonserver/lib/libtritonserver.so"),
    DEEPSTREAM / "lib/libtritonserver.so",
)
"""Where nvinferserver finds Triton: in the containers, and after triton_backend_setup.sh."""
INSTALL_PYDS = "scripts/install_pyds.sh, then scripts/setup.sh --deepstream"
"""NVIDIA's own script prints its usage without an option, and installs pyds into an environment of
its own (user_deepstream_python_apps_install.sh of DeepStream 9.1)."""
DRIVER = "NVIDIA driver"
"""Name of its line in `xpnet doctor`, also where it does not fit."""
DRIVER_QUERY = ("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader")


@dataclass(frozen=True)
class Module:
    """A Python module: the file that it would be imported from, and its package's version."""

    origin: str
    version: str


@dataclass(frozen=True)
class NvidiaSoftware:
    """Versions of NVIDIA's software; None for what is not installed."""

    deepstream: str | None
    l4t: str | None
    jetpack: str | None
    tensorrt: str | None
    driver: str | None
    ubuntu: str | None
    python: str
    inferserver: bool
    triton: bool
    pyds: Module | None
    numpy: Module | None
    tegra: bool

    @property
    def jetson(self) -> bool:
        """Whether this machine is a Jetson, by its Linux, or in a container by its device tree."""
        return self.l4t is not None or self.tegra


@dataclass(frozen=True)
class Mismatch:
    """Two parts that do not fit together: the part, what was found, what fails, and the fix."""

    name: str
    found: str
    breaks: str
    fix: str


def run_quietly(command: tuple[str, ...]) -> str:
    """Return a command's output; empty if the command is missing or fails."""
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return result.stdout


def find_module(name: str) -> Module | None:
    """Find a module without importing it.

    Args:
        name: Its name.
    """
    spec = util.find_spec(name)
    if spec is None or spec.origin is None:
        return None
    try:
        return Module(spec.origin, metadata.version(name))
    except metadata.PackageNotFoundError:
        return Module(spec.origin, "unknown")


def detect_nvidia_software(
    root: Path = Path("/"),
    run: Callable[[tuple[str, ...]], str] = run_quietly,
    module: Callable[[str], Module | None] = find_module,
) -> NvidiaSoftware:
    """Detect what is installed below `root`.

    Files: DeepStream's `version`, Jetson's /etc/nv_tegra_release and device tree, dpkg's status,
    /etc/os-release.

    Args:
        root: Root of the file system.
        run: Returns the output of a command.
        module: Finds a Python module.
    """
    packages = _packages(root)
    release = _text(root / "etc/os-release")
    tegra = re.search(
        r"R(\d+) \(release\), REVISION: ([\d.]+)", _text(root / "etc/nv_tegra_release")
    )
    return NvidiaSoftware(
        deepstream=_found(r"Version:\s*([\d.]+)", _text(root / DEEPSTREAM / "version")),
        l4t=f"{tegra[1]}.{tegra[2]}" if tegra else None,
        jetpack=packages.get("nvidia-jetpack"),
        tensorrt=_tensorrt(root, packages),
        driver=_found(r"^([\d.]+)", run(DRIVER_QUERY)),
        ubuntu=_found(r'VERSION_ID="?([\d.]+)', release) if "ID=ubuntu" in release else None,
        python=platform.python_version(),
        inferserver=(root / INFERSERVER).exists(),
        triton=any((root / path).exists() for path in TRITON_LIBRARIES),
        pyds=module("pyds"),
        numpy=module("numpy"),
        tegra="nvidia,tegra" in _text(root / "proc/device-tree/compatible"),
    )


def is_unrelated_pyds(pyds: Module | None) -> bool:
    """Return whether pyds is the unrelated package: it is Python, NVIDIA's is a shared library."""
    return pyds is not None and pyds.origin.endswith(".py")


def find_mismatches(target: NvidiaSoftware) -> list[Mismatch]:
    """Find parts that do not fit together; empty on a machine without NVIDIA's software.

    Args:
        target: What was detected.
    """
    found = _pyds_mismatches(target)
    if target.deepstream is None:
        return found
    release = release_of(target.deepstream)
    if release is None:
        known = ", ".join(r.deepstream for r in RELEASES)
        return [
            Mismatch(
                "DeepStream",
                f"{target.deepstream}, expected one of {known}",
                "all checks of NVIDIA's software",
                f"install DeepStream {RELEASES[-2].deepstream}",
            ),
            *found,
        ]
    found += _system_mismatches(target, release)
    if target.inferserver and not target.triton:
        found.append(
            Mismatch(
                "nvinferserver",
                "the plugin is installed, libtritonserver.so is not",
                "`--triton inprocess`, `--triton grpc`",
                "triton_backend_setup.sh, which comes with DeepStream"
                if target.jetson
                else f"{release.triton_image}, or `xpnet deploy --triton none`",
            )
        )
    return found


def _system_mismatches(target: NvidiaSoftware, release: Release) -> list[Mismatch]:
    """Compare Linux, Python, TensorRT and the driver with DeepStream's release."""
    name = f"DeepStream {release.deepstream}"
    tensorrt = release.tensorrt if release.tensorrt_jetson or not target.jetson else ""
    # Not every source states JetPack and Ubuntu.
    flash = f"JetPack {release.jetpack}" if release.jetpack else f"Jetson Linux {release.l4t}"
    python = f"Python {release.python}"
    if release.ubuntu:
        python = f"/usr/bin/python3 of Ubuntu {release.ubuntu}"
    rows = (
        ("JetPack", target.l4t, release.l4t, f"flash {flash}"),
        ("Ubuntu", target.ubuntu, release.ubuntu, f"a container of {name}"),
        ("Python", target.python, release.python, python),
        ("TensorRT", target.tensorrt, tensorrt, "the TensorRT that comes with it"),
    )
    found = [
        Mismatch(part, f"{here}, {name} needs {wanted}", name, fix)
        for part, here, wanted, fix in rows
        if here and wanted and not matches_version_prefix(here, wanted)
    ]
    if not target.jetson and target.driver and release.driver:
        if _numbers(target.driver) < _numbers(release.driver):
            what = f"{target.driver}, {name} needs {release.driver} or newer"
            found.append(Mismatch(DRIVER, what, name, f"install driver {release.driver}"))
    elif not target.jetson and not target.driver:
        found.append(
            Mismatch(
                DRIVER, "no output of nvidia-smi", name, "docker run --gpus all, or install it"
            )
        )
    return found


def _pyds_mismatches(target: NvidiaSoftware) -> list[Mismatch]:
    pyds, graph = target.pyds, "xpnet run --platform deepstream"
    if is_unrelated_pyds(pyds):
        what = f"{pyds.version if pyds else ''} from the package index, which is unrelated"
        return [Mismatch("pyds", what, graph, f"pip uninstall pyds, then {INSTALL_PYDS}")]
    if pyds is None:
        if target.deepstream is None:
            return []
        return [Mismatch("pyds", "not installed", graph, INSTALL_PYDS)]
    found = []
    if target.numpy and _numbers(target.numpy.version) >= (2,):
        what = f"{pyds.version} with numpy {target.numpy.version}"
        found.append(Mismatch("pyds", what, graph, "pip install 'numpy<2'"))
    release = release_of(target.deepstream) if target.deepstream else None
    wanted = release.pyds if release else ""
    if release and wanted[:1].isdigit() and not matches_version_prefix(pyds.version, wanted):
        what = f"{pyds.version}, DeepStream {release.deepstream} needs {wanted}"
        found.append(Mismatch("pyds", what, graph, f"pip uninstall pyds, then {INSTALL_PYDS}"))
    return found


def _packages(root: Path) -> dict[str, str]:
    """Return package versions from dpkg's status file."""
    text = _text(root / "var/lib/dpkg/status")
    found = {}
    for block in text.split("\n\n"):
        name = _found(r"^Package: (\S+)", block)
        version = _found(r"^Version: (\S+)", block)
        if name and version and re.search(r"^Status: .* installed$", block, re.M):
            found[name] = version
    return found


def _tensorrt(root: Path, packages: dict[str, str]) -> str | None:
    for name, version in packages.items():
        if re.fullmatch(r"libnvinfer\d+", name):
            return version.split("-")[0]
    files = [p.name for p in root.glob("usr/lib/*/libnvinfer.so.*.*")]
    return max((x.removeprefix("libnvinfer.so.") for x in files), key=_numbers, default=None)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _found(pattern: str, text: str) -> str | None:
    match = re.search(pattern, text, re.M)
    return match[1] if match else None


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(x) for x in re.findall(r"\d+", version))
