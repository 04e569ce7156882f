"""Which versions of NVIDIA's parts belong together, and their known traps: the data.

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


@dataclass(frozen=True)
class Trap:
    """What surprises, what we do about it, and where it was read."""

    what: str
    we: str
    source: str


PARSER = "deepstream_config_file_parser.c of DeepStream 9.1"

TRAPS = (
    Trap(
        "nvsegvisual once showed the mask alone; newer pages say it lays it over the frame, and "
        "deepstream-app sets neither its `alpha` nor its `original-background`",
        "`deepstream-app` is for a first look; our own graph draws the overlay itself",
        "docs.nvidia.com DS_plugin_gst-nvsegvisual 6.1.1, 9.2; deepstream_segvisual_bin.c of 9.1",
    ),
    Trap(
        "nvsegvisual's width and height are those of the segmentation output, and so is then its "
        "picture",
        "`[segvisual]` takes the card's size, `[tiled-display]` brings the picture back to the "
        "frame's shape; it is as sharp as the plan is large (`xpnet export --plan-size`)",
        "docs.nvidia.com DS_plugin_gst-nvsegvisual 9.2",
    ),
    Trap(
        "deepstream-app only warns of an unknown key and is silent about an unknown group",
        "`xpnet deploy --check FILE` refuses both and names the nearest",
        "deepstream_app_config_parser.c of DeepStream 9.1",
    ),
    Trap(
        "`leaky`, `max-size-buffers` and `drop-on-latency` of a `[sourceN]` reach nvurisrcbin "
        "alone, not a V4L2 camera",
        "live carts have live-source=1, sync=0 and a muxer that waits one frame at most; our own "
        "graph has leaky queues",
        "deepstream_source_bin.c of DeepStream 9.1",
    ),
    Trap(
        "rtspsrc holds packets back for 2,000 ms unless told otherwise",
        "`latency=100`; deepstream-app turns drop-on-latency on for RTSP by itself",
        "GStreamer's rtspsrc, property latency; create_rtsp_src_bin in deepstream_source_bin.c",
    ),
    Trap(
        "nvurisrcbin reconnects from a timeout on GLib's default main context: a program that "
        "never iterates it never sees a camera again",
        "our player iterates it; both graphs wait for a live source that went away",
        "watch_source_status in gstdsnvurisrcbin.cpp of DeepStream 9.1",
    ),
    Trap(
        "nvinferserver ends its graph at the first inference that fails, a server that is gone "
        "among them",
        "our graph finishes its file; a live picture goes on without masks in a graph without it",
        "gst_nvinfer_server_push_buffer in gstnvinferserver.cpp of DeepStream 9.1",
    ),
    Trap(
        "RTSP out of deepstream-app listens on every address, without a password",
        "it is written only where `--sink rtsp` asks for it; the file and `xpnet deploy` say so: "
        "keep it behind a firewall",
        "start_rtsp_streaming in deepstream_sink_bin.c of DeepStream 9.1",
    ),
    Trap(
        "every path is relative to the config file, but output-file to where the app is started",
        "the header of a file with such a sink says so",
        PARSER,
    ),
    Trap(
        "a camera has to be V4L2 with raw frames: MJPEG cameras, and SDI cards without a V4L2 "
        "driver (DeckLink, AJA), cannot be opened by deepstream-app",
        "`xpnet deploy` refuses them in one line",
        "create_camera_source_bin in deepstream_source_bin.c of DeepStream 9.1",
    ),
    Trap(
        "nvdrmvideosink, a screen without a desktop, exists on Jetson alone",
        "`--sink drm` is refused for rtx",
        "create_render_bin in deepstream_sink_bin.c of DeepStream 9.1",
    ),
    Trap(
        "an Orin Nano has no hardware encoder",
        "`xpnet deploy --software-encoder`",
        f"{BINDINGS} README, deepstream-test1-rtsp-out",
    ),
    Trap(
        "the containers hold no CPU codecs since 6.3, so no x264enc",
        "run /opt/nvidia/deepstream/deepstream/user_additional_install.sh in the container",
        f"{DOCKERS} README",
    ),
    Trap(
        "an engine belongs to one TensorRT version and one kind of GPU",
        "plans are built on the target and are not in git; `--check` gives the command",
        "docs.nvidia.com DS_Migration_guide 9.2, TensorRT's developer guide",
    ),
    Trap(
        "nvinferserver is installed without Triton on x86 packages (libtritonserver.so is looked "
        "for in /opt/tritonserver/lib); on a Jetson triton_backend_setup.sh fetches it",
        "`xpnet doctor` looks for the library; take a -triton- container, or `--triton none`",
        "src/utils/nvdsinferserver/README and scripts/triton_backend_setup.sh of DeepStream 9.1",
    ),
    Trap(
        "CUDA buffers can be shared with a tritonserver on the same x86 machine, not on a Jetson",
        "`xpnet deploy` sets enable_cuda_buffer_sharing for rtx and a local address alone",
        "nvdsinferserver_config.proto of DeepStream 9.1",
    ),
    Trap(
        "the package `pyds` of the package index reads labels of planetary data",
        "it is in no requirements file; `xpnet doctor` tells it from NVIDIA's",
        "the package index, pyds 0.2.0",
    ),
    Trap(
        "NVIDIA releases no wheels of pyds from DeepStream 9.0 on",
        "user_deepstream_python_apps_install.sh --build-bindings builds it",
        f"{BINDINGS} README for 9.0",
    ),
    Trap(
        "pyds does not work with numpy 2",
        "the project runs with numpy 1.26, too; `xpnet doctor` says when both are there",
        f"{BINDINGS} README",
    ),
    Trap(
        "both plugins shrink frames by the nearest pixel unless told otherwise, NVIDIA's samples "
        "bilinearly; both skip pixels, and masks of our networks change",
        "frame_scaling_filter 3 on the GPU, super-sampling: it averages areas as our preprocessing "
        "does; `--check` refuses another",
        "nvbufsurftransform.h of DeepStream 9.1, tests/deepstream/carts/test_deploy.py",
    ),
    Trap(
        "while NVDS_ENABLE_LATENCY_MEASUREMENT is set, a file sink writes bare H.264",
        "measure with the screen as the only sink",
        "create_encode_file_bin in deepstream_sink_bin.c of DeepStream 9.1",
    ),
    Trap(
        "elements that were installed later stay unknown to GStreamer",
        "rm -rf ~/.cache/gstreamer-1.0",
        "README.md of github.com/NVIDIA/DeepStream",
    ),
)


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


def traps_table() -> list[str]:
    """Lines of Markdown."""
    rows = ["| trap | what we do | read in |", "|---|---|---|"]
    return rows + [f"| {t.what} | {t.we} | {t.source} |" for t in TRAPS]
