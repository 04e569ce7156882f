"""Known issues of NVIDIA's software, what this project does about each, and the source.

docs/compatibility.md is generated from this table (a test compares them).
"""

from __future__ import annotations

from dataclasses import dataclass

from xpnet.host.compatibility import BINDINGS, DOCKERS


@dataclass(frozen=True)
class KnownIssue:
    """One known issue.

    Attributes:
        what: The behaviour.
        we: What this project does about it.
        source: Where it is documented.
    """

    what: str
    we: str
    source: str


PARSER = "deepstream_config_file_parser.c of DeepStream 9.1"

KNOWN_ISSUES = (
    KnownIssue(
        "nvsegvisual once showed the mask alone; newer pages say it lays it over the frame, and "
        "deepstream-app sets neither its `alpha` nor its `original-background`",
        "`deepstream-app` is for a first look; our own graph draws the overlay itself",
        "docs.nvidia.com DS_plugin_gst-nvsegvisual 6.1.1, 9.2; deepstream_segvisual_bin.c of 9.1",
    ),
    KnownIssue(
        "nvsegvisual's width and height are those of the segmentation output, and so is then its "
        "picture",
        "`[segvisual]` takes the card's size, `[tiled-display]` brings the picture back to the "
        "frame's shape; it is as sharp as the plan is large (`xpnet export --plan-size`)",
        "docs.nvidia.com DS_plugin_gst-nvsegvisual 9.2",
    ),
    KnownIssue(
        "deepstream-app only warns of an unknown key and is silent about an unknown group",
        "`xpnet deploy --check FILE` refuses both and names the nearest",
        "deepstream_app_config_parser.c of DeepStream 9.1",
    ),
    KnownIssue(
        "`leaky`, `max-size-buffers` and `drop-on-latency` of a `[sourceN]` reach nvurisrcbin "
        "alone, not a V4L2 camera",
        "live carts have live-source=1, sync=0 and a muxer that waits one frame at most; our own "
        "graph has leaky queues",
        "deepstream_source_bin.c of DeepStream 9.1",
    ),
    KnownIssue(
        "rtspsrc holds packets back for 2,000 ms unless told otherwise",
        "`latency=100`; deepstream-app turns drop-on-latency on for RTSP by itself",
        "GStreamer's rtspsrc, property latency; create_rtsp_src_bin in deepstream_source_bin.c",
    ),
    KnownIssue(
        "deepstream-app ends at an error of any source unless its first one is RTSP: one of four "
        "cameras that is unplugged takes the other three pictures with it",
        "the file and `xpnet deploy` say so; for pictures that must not depend on each other start "
        "one cart for each",
        "bus_callback in deepstream_app.c of DeepStream 9.1",
    ),
    KnownIssue(
        "nvmultistreamtiler keeps the last frame of a source: a tile whose stream is away stands "
        "still and looks like a picture",
        "read the rates in the `**PERF` line; our graph says that a source is away",
        "docs.nvidia.com DS_plugin_gst-nvmultistreamtiler",
    ),
    KnownIssue(
        "deepstream-app polls its input for keys: at /dev/null, as in a service, it writes an "
        "empty line each 40 ms",
        "`scripts/launch_cart.sh` gives it a pipe that nobody writes to",
        "event_thread_func in deepstream_app_main.c of DeepStream 9.1",
    ),
    KnownIssue(
        "nvv4l2h264enc makes an IDR frame, with which a player begins, each 256 frames; "
        "iframeinterval is another matter, and deepstream-app sets that alone",
        "our graph sets `idrinterval` to 50; who joins the RTSP out of deepstream-app may wait for "
        "8 s at 30 a second",
        "`gst-inspect-1.0 nvv4l2h264enc` as users quote it; create_udpsink_bin in "
        "deepstream_sink_bin.c of DeepStream 9.1",
    ),
    KnownIssue(
        "nvstreammux stretches a source of another shape than its own to that shape",
        "enable-padding=1, in the carts and in our graph: borders instead",
        "set_streammux_properties in deepstream_streammux.c of DeepStream 9.1",
    ),
    KnownIssue(
        "with output_tensor_meta every frame holds one of nvinferserver's output buffers, of which "
        "there are 2 unless told, for as long as any element keeps it; x264enc keeps more, and "
        "both then wait for each other for ever",
        "our probe gives the tensor back as soon as it is read; `xpnet deploy --probabilities` "
        "asks for 32 buffers",
        "copy_tensor_output_meta in gstnvinferserver_meta_utils.cpp and acquireBuffer in "
        "infer_utils.h of DeepStream 9.1",
    ),
    KnownIssue(
        "pyds lets a Jetson's surface go without a word to the hardware of what the CPU wrote",
        "our probe calls NvBufSurfaceSyncForDevice first, as NVIDIA's own C code does",
        "NvBufSurfaceMap in nvbufsurface.h and gstdsexample.cpp of DeepStream 9.1; "
        "bindfunctions.cpp of deepstream_python_apps",
    ),
    KnownIssue(
        "nvurisrcbin reconnects from a timeout on GLib's default main context: a program that "
        "never iterates it never sees a camera again",
        "our player iterates it; both graphs wait for a live source that went away",
        "watch_source_status in gstdsnvurisrcbin.cpp of DeepStream 9.1",
    ),
    KnownIssue(
        "nvinferserver ends its graph at the first inference that fails, a server that is gone "
        "among them",
        "our graph finishes its file; a live picture goes on without masks in a graph without it",
        "gst_nvinfer_server_push_buffer in gstnvinferserver.cpp of DeepStream 9.1",
    ),
    KnownIssue(
        "RTSP out of deepstream-app listens on every address, without a password",
        "it is written only where `--sink rtsp` asks for it; the file and `xpnet deploy` say so: "
        "keep it behind a firewall",
        "start_rtsp_streaming in deepstream_sink_bin.c of DeepStream 9.1",
    ),
    KnownIssue(
        "every path is relative to the config file, but output-file to where the app is started",
        "the header of a file with such a sink says so",
        PARSER,
    ),
    KnownIssue(
        "a camera has to be V4L2 with raw frames: MJPEG cameras, and SDI cards without a V4L2 "
        "driver (DeckLink, AJA), cannot be opened by deepstream-app, and 1080i stays interlaced",
        "`xpnet deploy` refuses what is no V4L2 device in one line; our graph takes MJPEG and "
        "DeckLink, and deinterlaces",
        "create_camera_source_bin in deepstream_source_bin.c of DeepStream 9.1",
    ),
    KnownIssue(
        "nvdrmvideosink, a screen without a desktop, exists on Jetson alone",
        "`--sink drm` is refused for rtx",
        "create_render_bin in deepstream_sink_bin.c of DeepStream 9.1",
    ),
    KnownIssue(
        "an Orin Nano has no hardware encoder",
        "`xpnet deploy --software-encoder`",
        f"{BINDINGS} README, deepstream-test1-rtsp-out",
    ),
    KnownIssue(
        "the containers hold no CPU codecs since 6.3, so no x264enc",
        "run /opt/nvidia/deepstream/deepstream/user_additional_install.sh in the container",
        f"{DOCKERS} README",
    ),
    KnownIssue(
        "an engine belongs to one TensorRT version and one kind of GPU",
        "plans are built on the target and are not in git; `--check` gives the command",
        "docs.nvidia.com DS_Migration_guide 9.2, TensorRT's developer guide",
    ),
    KnownIssue(
        "nvinferserver is installed without Triton on x86 packages (libtritonserver.so is looked "
        "for in /opt/tritonserver/lib); on a Jetson triton_backend_setup.sh fetches it",
        "`xpnet doctor` looks for the library; take a -triton- container, or `--triton none`",
        "src/utils/nvdsinferserver/README and scripts/triton_backend_setup.sh of DeepStream 9.1",
    ),
    KnownIssue(
        "CUDA buffers can be shared with a tritonserver on the same x86 machine, not on a Jetson",
        "`xpnet deploy` sets enable_cuda_buffer_sharing for rtx and a local address alone",
        "nvdsinferserver_config.proto of DeepStream 9.1",
    ),
    KnownIssue(
        "the package `pyds` of the package index reads labels of planetary data",
        "it is in no requirements file; `xpnet doctor` tells it from NVIDIA's",
        "the package index, pyds 0.2.0",
    ),
    KnownIssue(
        "NVIDIA releases no wheels of pyds from DeepStream 9.0 on",
        "user_deepstream_python_apps_install.sh --build-bindings builds it",
        f"{BINDINGS} README for 9.0",
    ),
    KnownIssue(
        "pyds does not work with numpy 2",
        "the project runs with numpy 1.26, too; `xpnet doctor` says when both are there",
        f"{BINDINGS} README",
    ),
    KnownIssue(
        "both plugins shrink frames by the nearest pixel unless told otherwise, NVIDIA's samples "
        "bilinearly; both skip pixels, and masks of our networks change",
        "frame_scaling_filter 3 on the GPU, super-sampling: it averages areas as our preprocessing "
        "does; `--check` refuses another",
        "nvbufsurftransform.h of DeepStream 9.1, tests/deepstream/app_config/test_config_writer.py",
    ),
    KnownIssue(
        "while NVDS_ENABLE_LATENCY_MEASUREMENT is set, a file sink writes bare H.264",
        "measure with the screen as the only sink",
        "create_encode_file_bin in deepstream_sink_bin.c of DeepStream 9.1",
    ),
    KnownIssue(
        "elements that were installed later stay unknown to GStreamer",
        "rm -rf ~/.cache/gstreamer-1.0",
        "README.md of github.com/NVIDIA/DeepStream",
    ),
)


def known_issues_table() -> list[str]:
    """Return the known issues as lines of Markdown."""
    rows = ["| trap | what we do | read in |", "|---|---|---|"]
    return rows + [f"| {t.what} | {t.we} | {t.source} |" for t in KNOWN_ISSUES]
