"""Which versions of NVIDIA's software fit together; xpnet/host/known_issues.py lists known issues.

`make pages` writes this table into docs/compatibility.md, and `xpnet doctor` checks a machine
against it. An empty string means that no source states the version: it is neither printed
nor checked.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Release:
    """One DeepStream release and the versions that NVIDIA names for it, as version prefixes.

    Attributes:
        l4t: Version of Jetson Linux.
        pyds: Version of the Python bindings.
        driver: Oldest driver for a GeForce RTX.
        tensorrt_jetson: Whether `tensorrt` also applies to a Jetson.
        registry: Where NVIDIA distributes the containers.
        triton_tag: Tag of the container with Triton; empty if no source states it.
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
    registry: str = "nvcr.io/nvidia/deepstream"
    triton_tag: str = "triton-multiarch"

    @property
    def triton_image(self) -> str:
        """The container with Triton, for a message."""
        if not self.triton_tag:
            return f"the container with Triton of {self.registry}"
        return f"{self.registry}:{self.deepstream}-{self.triton_tag}"


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
        registry="ghcr.io/nvidia/deepstream",
        triton_tag="",
        sources="docs.nvidia.com DS_Migration_guide, DS_docker_containers and "
        "DS_service_maker_python 9.2",
    ),
)
"""Oldest first; nothing before 7.1, since this project's plans and configs need TensorRT 10."""


def release_of(version: str) -> Release | None:
    """Return the release of a full version such as 9.1.0, or None if it is not in the table."""
    return next((r for r in RELEASES if matches_version_prefix(version, r.deepstream)), None)


def matches_version_prefix(version: str, beginning: str) -> bool:
    """Return whether a version starts with a prefix: 10.3.0.26 matches 10.3, 10.30 does not."""
    return f"{version}.".startswith(f"{beginning}.")


def releases_table() -> list[str]:
    """Return the table of releases as lines of Markdown."""
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
    """Return the sources of the table as lines of Markdown."""
    return [f"- {r.deepstream}: {r.sources}" for r in reversed(RELEASES)]
