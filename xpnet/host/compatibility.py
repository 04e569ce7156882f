"""Which versions of NVIDIA's parts belong together: the data. Their traps: xpnet/host/known_issues.py.

docs/compatibility.md is made from it (a test compares), and `xpnet doctor` judges a target by it.
An empty string is what no source that we read says: it is neither printed nor checked.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Release:
    """One DeepStream release and what NVIDIA says it runs with, as beginnings of versions.

    `l4t` is Jetson's Linux, `pyds` the version of its Python bindings, `driver` the least that a
    GeForce RTX needs; `tensorrt_jetson` whether `tensorrt` holds on a Jetson, too.
    """

    deepstream: str
    ubuntu: str
    python: str
    gstreamer: str
    cuda: str
    tensorrt: str
    driver: str
    triton: str
    jetpack: str
    l4t: str
    pyds: str
    sources: str
    tensorrt_jetson: bool = True


INSTALLATION = "docs.nvidia.com DS_Installation"
NOTES = "docs.nvidia.com DS_Release_notes"
SKILL = "github.com/NVIDIA/DeepStream skills/deepstream-dev"
BINDINGS = "github.com/NVIDIA-AI-IOT/deepstream_python_apps"
DOCKERS = "github.com/NVIDIA/DeepStream deepstream_dockers"

RELEASES = (
    Release(
        deepstream="7.1",
        ubuntu="22.04",
        python="3.10",
        gstreamer="1.20",
        cuda="12.6",
        tensorrt="10.3",
        driver="560.35",
        triton="24.08",
        jetpack="6.1",
        l4t="36.4",
        pyds="1.2.0",
        sources=f"{INSTALLATION} 7.1, its versions as users quote them, {BINDINGS} README",
    ),
    Release(
        deepstream="8.0",
        ubuntu="24.04",
        python="3.12",
        gstreamer="1.24",
        cuda="12.8",
        tensorrt="10.9",
        driver="570.133",
        triton="",
        jetpack="",
        l4t="38.2",
        pyds="1.2.2",
        sources=f"{INSTALLATION} 8.0 as users quote it, {NOTES} 9.0, {BINDINGS} README for 8.0",
        tensorrt_jetson=False,
    ),
    Release(
        deepstream="9.0",
        ubuntu="24.04",
        python="3.12",
        gstreamer="1.24",
        cuda="13.1",
        tensorrt="10.14",
        driver="590",
        triton="26.01, Jetson 25.08",
        jetpack="7.1",
        l4t="38.4",
        pyds="built from source",
        sources=f"{NOTES} 9.0, {SKILL}, {BINDINGS} README for 9.0",
        tensorrt_jetson=False,
    ),
    Release(
        deepstream="9.1",
        ubuntu="24.04",
        python="3.12",
        gstreamer="1.24",
        cuda="13.2",
        tensorrt="10.16",
        driver="595.58",
        triton="26.03, Jetson 26.04",
        jetpack="7.2",
        l4t="39.2",
        pyds="built from source",
        sources=f"github.com/NVIDIA/DeepStream build/BUILD.md, {DOCKERS}, {INSTALLATION} 9.1",
    ),
    Release(
        deepstream="9.2",
        ubuntu="",
        python="3.12",
        gstreamer="",
        cuda="",
        tensorrt="10.16",
        driver="",
        triton="",
        jetpack="",
        l4t="",
        pyds="built from source",
        sources="docs.nvidia.com DS_Migration_guide and DS_service_maker_python 9.2",
    ),
)
"""Oldest first. The project's plans and configs need TensorRT 10, hence nothing before 7.1."""


def release_of(version: str) -> Release | None:
    """The release of a full version as 9.1.0; None for one that is not in the table."""
    return next((r for r in RELEASES if begins(version, r.deepstream)), None)


def begins(version: str, beginning: str) -> bool:
    """Whether a version is of a line: 10.3.0.26 is of 10.3, 10.30 is not."""
    return f"{version}.".startswith(f"{beginning}.")


def releases_table() -> list[str]:
    """Lines of Markdown."""
    rows = [
        "| DeepStream | Ubuntu | Python | GStreamer | CUDA | TensorRT | driver (RTX) | Triton "
        "| JetPack (L4T) | pyds |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for r in reversed(RELEASES):
        jetson = f"{r.jetpack or '?'} ({r.l4t})" if r.l4t else ""
        tensorrt = r.tensorrt if r.tensorrt_jetson else f"{r.tensorrt} (x86)"
        cells = (r.deepstream, r.ubuntu, r.python, r.gstreamer, r.cuda, tensorrt, r.driver,
                 r.triton, jetson, r.pyds)  # fmt: skip
        rows.append("| " + " | ".join(cell or "?" for cell in cells) + " |")
    return rows


def sources_list() -> list[str]:
    """Lines of Markdown: where each row of the table was read."""
    return [f"- {r.deepstream}: {r.sources}" for r in reversed(RELEASES)]
