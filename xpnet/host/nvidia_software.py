"""What of NVIDIA's is installed on this machine, and whether it goes together.

`look` reads files below a root and asks through functions that it is given, so that a test can
show it any machine; `judge` compares with `xpnet.host.compatibility` and says how to mend it.
"""

from __future__ import annotations

import platform
import re
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata, util
from pathlib import Path

from xpnet.host.compatibility import RELEASES, Release, begins, release_of

DEEPSTREAM = Path("opt/nvidia/deepstream/deepstream")
INFERSERVER = DEEPSTREAM / "lib/gst-plugins/libnvdsgst_inferserver.so"
TRITON_LIBRARIES = (
    Path("opt/tritonserver/lib/libtritonserver.so"),
    DEEPSTREAM / "lib/libtritonserver.so",
)
"""Where nvinferserver finds Triton: in the containers, and after triton_backend_setup.sh."""
INSTALL_PYDS = f"/{DEEPSTREAM}/user_deepstream_python_apps_install.sh"
DRIVER_QUERY = ("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader")


@dataclass(frozen=True)
class Module:
    """A Python module: the file it would be imported from, and its package's version."""

    origin: str
    version: str


@dataclass(frozen=True)
class Target:
    """Versions as found, None where there is none."""

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
        """Whether it is one: by its Linux, or in a container by its device tree."""
        return self.l4t is not None or self.tegra


@dataclass(frozen=True)
class Mismatch:
    """Two parts that do not go together: the part, what was found, what fails, how to mend it."""

    name: str
    found: str
    breaks: str
    mend: str


def run_quietly(command: tuple[str, ...]) -> str:
    """What a command prints; empty where it is not there or fails."""
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return result.stdout


def find_module(name: str) -> Module | None:
    """Without importing it."""
    spec = util.find_spec(name)
    if spec is None or spec.origin is None:
        return None
    try:
        return Module(spec.origin, metadata.version(name))
    except metadata.PackageNotFoundError:
        return Module(spec.origin, "unknown")


def look(
    root: Path = Path("/"),
    run: Callable[[tuple[str, ...]], str] = run_quietly,
    module: Callable[[str], Module | None] = find_module,
) -> Target:
    """Reads what is installed below `root`.

    Files: DeepStream's `version`, Jetson's /etc/nv_tegra_release and device tree, dpkg's status,
    /etc/os-release.
    """
    packages = _packages(root)
    release = _text(root / "etc/os-release")
    tegra = re.search(
        r"R(\d+) \(release\), REVISION: ([\d.]+)", _text(root / "etc/nv_tegra_release")
    )
    return Target(
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


def wrong_pyds(pyds: Module | None) -> bool:
    """Whether this is the package index's pyds: that one is Python, NVIDIA's is a library."""
    return pyds is not None and pyds.origin.endswith(".py")


def judge(target: Target) -> list[Mismatch]:
    """What does not go together; empty on a machine without NVIDIA's parts."""
    found = _judge_pyds(target)
    if target.deepstream is None:
        return found
    release = release_of(target.deepstream)
    if release is None:
        known = ", ".join(r.deepstream for r in RELEASES)
        return [
            Mismatch(
                "DeepStream",
                f"{target.deepstream}, not one of those we know ({known})",
                "certainty about anything of NVIDIA's here",
                f"install DeepStream {RELEASES[-2].deepstream}",
            ),
            *found,
        ]
    found += _judge_system(target, release)
    if target.inferserver and not target.triton:
        found.append(
            Mismatch(
                "nvinferserver",
                "its plugin is there, libtritonserver.so is not",
                "`--triton inprocess`, `--triton grpc`",
                "triton_backend_setup.sh, which comes with DeepStream"
                if target.jetson
                else f"nvcr.io/nvidia/deepstream:{release.deepstream}-triton-multiarch, or "
                "`xpnet deploy --triton none`",
            )
        )
    return found


def _judge_system(target: Target, release: Release) -> list[Mismatch]:
    """Linux, Python, TensorRT and the driver against DeepStream's release."""
    name = f"DeepStream {release.deepstream}"
    tensorrt = release.tensorrt if release.tensorrt_jetson or not target.jetson else ""
    rows = (
        ("JetPack", target.l4t, release.l4t, f"flash JetPack {release.jetpack}"),
        ("Ubuntu", target.ubuntu, release.ubuntu, f"a container of {name}"),
        ("Python", target.python, release.python, f"/usr/bin/python3 of Ubuntu {release.ubuntu}"),
        ("TensorRT", target.tensorrt, tensorrt, "the TensorRT that comes with it"),
    )
    found = [
        Mismatch(part, f"{here}, {name} is made for {wanted}", name, mend)
        for part, here, wanted, mend in rows
        if here and wanted and not begins(here, wanted)
    ]
    if not target.jetson and target.driver and release.driver:
        if _numbers(target.driver) < _numbers(release.driver):
            what = f"{target.driver}, {name} needs {release.driver} or newer"
            found.append(Mismatch("driver", what, name, f"install driver {release.driver}"))
    elif not target.jetson and not target.driver:
        found.append(
            Mismatch(
                "driver", "nvidia-smi says nothing", name, "docker run --gpus all, or install it"
            )
        )
    return found


def _judge_pyds(target: Target) -> list[Mismatch]:
    pyds, graph = target.pyds, "xpnet run --platform deepstream"
    if wrong_pyds(pyds):
        what = f"{pyds.version if pyds else ''} of the package index, which reads planetary data"
        return [Mismatch("pyds", what, graph, f"pip uninstall pyds, then {INSTALL_PYDS}")]
    if pyds is None:
        if target.deepstream is None:
            return []
        return [Mismatch("pyds", "not installed", graph, _install_pyds(target))]
    found = []
    if target.numpy and _numbers(target.numpy.version) >= (2,):
        what = f"{pyds.version} with numpy {target.numpy.version}"
        found.append(Mismatch("pyds", what, graph, "pip install 'numpy<2'"))
    release = release_of(target.deepstream) if target.deepstream else None
    wanted = release.pyds if release else ""
    if release and wanted[:1].isdigit() and not begins(pyds.version, wanted):
        what = f"{pyds.version}, DeepStream {release.deepstream} needs {wanted}"
        found.append(Mismatch("pyds", what, graph, _install_pyds(target)))
    return found


def _install_pyds(target: Target) -> str:
    release = release_of(target.deepstream or "")
    if release and release.pyds[:1].isdigit():
        return f"{INSTALL_PYDS} --version {release.pyds}"
    return f"{INSTALL_PYDS} --build-bindings"


def _packages(root: Path) -> dict[str, str]:
    """Package to version, from dpkg's status file."""
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
