"""Known issues of NVIDIA's software, what this project does about each, and the source.

`make pages` writes this table into docs/compatibility.md.
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
        "deepstream-app shows the mask alone, without the frame: nvsegvisual writes a colour of "
        "the class over each pixel unless its `original-background` is set, and `[segvisual]` has "
        "no key for it",
        "each generated file and `xpnet deploy` say so; use `deepstream-app` for a first look, and "
        "`xpnet run` for video with the overlay",
        "gstnvsegvisual.cpp and nvds_segvis.cu of DeepStream 9.2; deepstream_segvisual_bin.c of "
        "9.1",
    ),
    KnownIssue(
        "nvsegvisual's width and height must be those of the segmentation output, and its "
        "picture has that size",
        "`[segvisual]` has the card's size, `[tiled-display]` scales to the frame's shape; the "
        "mask is as sharp as the plan is large (`xpnet export --plan-size`)",
        "docs.nvidia.com DS_plugin_gst-nvsegvisual 9.2; nvds_segvis.cu of DeepStream 9.2",
    ),
    KnownIssue(
        "deepstream-app only warns of an unknown key and ignores an unknown group",
        "`xpnet deploy --check FILE` refuses both and names the nearest known one",
        "deepstream_app_config_parser.c of DeepStream 9.1",
    ),
    KnownIssue(
        "deepstream-app ignores a source, a sink or [primary-gie] without `enable=1`, without a "
        "message",
        "`xpnet deploy --check FILE` treats them as disabled, too",
        "parse_source, parse_sink and parse_gie in deepstream_config_file_parser.c of "
        "DeepStream 9.1",
    ),
    KnownIssue(
        "`leaky`, `max-size-buffers` and `drop-on-latency` of a `[sourceN]` apply to "
        "nvurisrcbin only, not to a V4L2 camera",
        "live deployments have live-source=1, sync=0 and a muxer that waits for at most one "
        "frame; our own graph has leaky queues",
        "deepstream_source_bin.c of DeepStream 9.1",
    ),
    KnownIssue(
        "rtspsrc delays packets by 2,000 ms by default",
        "`latency=100`; deepstream-app sets drop-on-latency for RTSP by itself",
        "GStreamer's rtspsrc, property latency; create_rtsp_src_bin in deepstream_source_bin.c",
    ),
    KnownIssue(
        "deepstream-app ends at an error of any source unless its first one is RTSP: one "
        "unplugged camera of four also ends the other three pictures",
        "the file and `xpnet deploy` warn of it; run one process for each camera if pictures "
        "must not depend on each other",
        "bus_callback in deepstream_app.c of DeepStream 9.1",
    ),
    KnownIssue(
        "nvmultistreamtiler keeps the last frame of a source: a tile without a stream looks "
        "like a still picture",
        "read the frame rates in the `**PERF` line; our graph logs a disconnected source",
        "docs.nvidia.com DS_plugin_gst-nvmultistreamtiler",
    ),
    KnownIssue(
        "deepstream-app polls its input for keys: with /dev/null, as in a service, it prints an "
        "empty line every 40 ms",
        "`scripts/launch_cart.sh` gives it a pipe without a writer",
        "event_thread_func in deepstream_app_main.c of DeepStream 9.1",
    ),
    KnownIssue(
        "nvv4l2h264enc makes an IDR frame, at which decoding can start, every 256 frames; "
        "iframeinterval is independent of it, and deepstream-app sets only that",
        "our graph sets `idrinterval` to 50; a viewer of deepstream-app's RTSP output may wait "
        "8 s at 30 fps",
        "`gst-inspect-1.0 nvv4l2h264enc` as users quote it; create_udpsink_bin in "
        "deepstream_sink_bin.c of DeepStream 9.1",
    ),
    KnownIssue(
        "nvstreammux stretches a source of another shape",
        "enable-padding=1 in deployments and in our graph: borders instead",
        "set_streammux_properties in deepstream_streammux.c of DeepStream 9.1",
    ),
    KnownIssue(
        "with output_tensor_meta every frame keeps one of nvinferserver's output buffers (2 by "
        "default) while any element keeps the frame; x264enc keeps more, and both then wait for "
        "each other forever",
        "our probe releases the tensor as soon as it is read; `xpnet deploy --probabilities` "
        "requests 32 buffers",
        "copy_tensor_output_meta in gstnvinferserver_meta_utils.cpp and acquireBuffer in "
        "infer_utils.h of DeepStream 9.1",
    ),
    KnownIssue(
        "pyds unmaps a Jetson's surface without synchronising what the CPU wrote",
        "our probe calls NvBufSurfaceSyncForDevice first, as NVIDIA's own C code does",
        "NvBufSurfaceMap in nvbufsurface.h and gstdsexample.cpp of DeepStream 9.1; "
        "bindfunctions.cpp of deepstream_python_apps",
    ),
    KnownIssue(
        "nvurisrcbin reconnects from a timeout on GLib's default main context: in a program "
        "that never iterates it a camera never returns",
        "our player iterates it; both graphs wait for a disconnected live source",
        "watch_source_status in gstdsnvurisrcbin.cpp of DeepStream 9.1",
    ),
    KnownIssue(
        "nvinferserver ends its graph at the first failed inference, also if its server is gone",
        "our graph completes its file; a live picture continues without masks in a graph "
        "without it",
        "gst_nvinfer_server_push_buffer in gstnvinferserver.cpp of DeepStream 9.1",
    ),
    KnownIssue(
        "RTSP output of deepstream-app listens on every address, without a password",
        "it is written only with `--sink rtsp`; the file and `xpnet deploy` warn of it: use a "
        "firewall",
        "start_rtsp_streaming in deepstream_sink_bin.c of DeepStream 9.1",
    ),
    KnownIssue(
        "every path is relative to the config file, except output-file, which is relative to "
        "the working directory",
        "the header of a file with such a sink says so",
        PARSER,
    ),
    KnownIssue(
        "a camera must be V4L2 with raw frames: deepstream-app cannot open MJPEG cameras or SDI "
        "cards without a V4L2 driver (DeckLink, AJA), and 1080i stays interlaced",
        "`xpnet deploy` refuses other devices with one line; our graph opens MJPEG and "
        "DeckLink, and deinterlaces",
        "create_camera_source_bin in deepstream_source_bin.c of DeepStream 9.1",
    ),
    KnownIssue(
        "nvdrmvideosink, a screen without a desktop, exists on Jetson only",
        "`--sink drm` and `--output drm` are refused for rtx",
        "create_render_bin in deepstream_sink_bin.c of DeepStream 9.1",
    ),
    KnownIssue(
        "for RTSP output by x264enc deepstream-app sets neither speed-preset nor tune: it is slow, "
        "and its look-ahead delays the video by a second or more",
        "the file and `xpnet deploy` warn of it; our own graph sets both",
        "create_udpsink_bin in deepstream_sink_bin.c of DeepStream 9.1",
    ),
    KnownIssue(
        "an Orin Nano has no hardware encoder",
        "`xpnet deploy --software-encoder`; for RTSP our own graph",
        f"{BINDINGS} README, deepstream-test1-rtsp-out",
    ),
    KnownIssue(
        "the containers contain no CPU codecs since 6.3, so no x264enc",
        "run /opt/nvidia/deepstream/deepstream/user_additional_install.sh in the container",
        f"{DOCKERS} README",
    ),
    KnownIssue(
        "the containers of 9.2 are distributed by ghcr.io/nvidia/deepstream, no longer by nvcr.io",
        "the Dockerfiles use 8.0 and 7.1 of nvcr.io; `xpnet doctor` names the registry of the "
        "release",
        "docs.nvidia.com DS_docker_containers 9.2",
    ),
    KnownIssue(
        "an engine works with one TensorRT version and one kind of GPU",
        "plans are built on the target and are not in git; `--check` prints the command",
        "docs.nvidia.com DS_Migration_guide 9.2, TensorRT's developer guide",
    ),
    KnownIssue(
        "nvinfer builds a plan from the ONNX file if `model-engine-file` is missing or does not "
        "fit, and saves it under a name of its own: it builds again at every start, for minutes",
        "`xpnet deploy --check` wants the plan of `xpnet build` first",
        "generateBackendContext in nvdsinfer_context_impl.cpp and nvdsinfer_model_builder.cpp of "
        "DeepStream 9.1",
    ),
    KnownIssue(
        "nvinfer uses a DLA core only with `enable-dla` and `use-dla-core`; without them it loads "
        "a plan of core 1 for core 0",
        "`xpnet deploy` writes both if the plan was built with --dla; `--check` compares them",
        "deserializeEngine in nvdsinfer_model_builder.cpp of DeepStream 9.1",
    ),
    KnownIssue(
        "x86 packages install nvinferserver without Triton (it loads libtritonserver.so from "
        "/opt/tritonserver/lib); on a Jetson triton_backend_setup.sh installs it",
        "`xpnet doctor` looks for the library; use a -triton- container, or `--triton none`",
        "src/utils/nvdsinferserver/README and scripts/triton_backend_setup.sh of DeepStream 9.1",
    ),
    KnownIssue(
        "CUDA buffers can be shared with a tritonserver on the same x86 machine, not on a Jetson",
        "`xpnet deploy` sets enable_cuda_buffer_sharing only for rtx and a local address; "
        "`xpnet run` also asks the server, because `xpnet serve --host` refuses it",
        "nvdsinferserver_config.proto of DeepStream 9.1",
    ),
    KnownIssue(
        "the package `pyds` on the package index is unrelated: it reads planetary data",
        "it is in no requirements file; `xpnet doctor` distinguishes it from NVIDIA's",
        "the package index, pyds 0.2.0",
    ),
    KnownIssue(
        "NVIDIA releases no wheels of pyds since DeepStream 9.0",
        "`scripts/install_pyds.sh` builds it with NVIDIA's script",
        f"{BINDINGS} README for 9.0",
    ),
    KnownIssue(
        "NVIDIA's user_deepstream_python_apps_install.sh needs an option, and installs pyds into "
        "an environment of its own, where no other Python finds it",
        "`scripts/install_pyds.sh` gets the wheel with it, `scripts/setup.sh --deepstream` "
        "installs the wheel into `.venv`",
        "user_deepstream_python_apps_install.sh of DeepStream 9.1",
    ),
    KnownIssue(
        "pyds before 1.1.11 (DeepStream 7.0) cannot attach the mask of an object",
        "`xpnet run` refuses it",
        f"bindnvdsmeta.cpp of {BINDINGS}, 1.1.10 and 1.1.11",
    ),
    KnownIssue(
        "pyds is deprecated since 9.0 in favour of pyservicemaker, which can neither write pixels "
        "with numpy nor remove metadata",
        "`xpnet run` uses pyds; deepstream/probes/servicemaker_probe.py lets nvdsosd draw the "
        "contours in a pyservicemaker pipeline ([checked against](checked-against.md))",
        f"{BINDINGS} README for 9.0; service-maker/sources/python/src/bindings of DeepStream 9.2",
    ),
    KnownIssue(
        "pyds does not work with numpy 2",
        "the project also runs with numpy 1.26; `xpnet doctor` reports a conflict",
        f"{BINDINGS} README",
    ),
    KnownIssue(
        "both plugins shrink frames by the nearest pixel by default, NVIDIA's samples "
        "bilinearly; both skip pixels, which changes the masks of our networks",
        "frame_scaling_filter 3 on the GPU, super-sampling: it averages areas as our "
        "preprocessing does; `--check` refuses other values",
        "nvbufsurftransform.h of DeepStream 9.1, tests/deepstream/app_config/test_config_writer.py",
    ),
    KnownIssue(
        "while NVDS_ENABLE_LATENCY_MEASUREMENT is set, a file sink writes bare H.264",
        "measure with the screen as the only sink",
        "create_encode_file_bin in deepstream_sink_bin.c of DeepStream 9.1",
    ),
    KnownIssue(
        "GStreamer does not find elements that were installed later",
        "rm -rf ~/.cache/gstreamer-1.0",
        "README.md of github.com/NVIDIA/DeepStream",
    ),
)


def known_issues_table() -> list[str]:
    """Return the known issues as lines of Markdown."""
    rows = ["| issue | what this project does | source |", "|---|---|---|"]
    return rows + [f"| {t.what} | {t.we} | {t.source} |" for t in KNOWN_ISSUES]
