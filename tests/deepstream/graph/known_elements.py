"""Every element and property that a graph may set, and the source of its name.

NVIDIA's elements cannot be queried here, so each property is listed with a pattern of its values.
`libraries`: the wheel of nvidia-deepstream-videodecode-cu13 contains the plugin, and the property's
name must occur in it. GStreamer's own elements are queried.
"""

from __future__ import annotations

from dataclasses import dataclass, field

BOOLEAN = "true|false"
NUMBER = r"\d+"
DEEPSTREAM = "github.com/NVIDIA/DeepStream, July 2026 (9.1): "
DOCS = "docs.nvidia.com/metropolis/deepstream/dev-guide: "


@dataclass(frozen=True)
class Known:
    """An element of NVIDIA's: its properties with a pattern of their values, and the source."""

    source: str
    properties: dict[str, str] = field(default_factory=dict)
    shared_object: str = ""


NVIDIA = {
    "nvurisrcbin": Known(
        DEEPSTREAM + "src/gst-plugins/gst-nvurisrcbin/gstdsnvurisrcbin.cpp",
        {
            "uri": r"(file|rtsp)://.+",
            "disable-audio": BOOLEAN,
            "file-loop": BOOLEAN,
            "latency": NUMBER,  # milliseconds
            "rtsp-reconnect-interval": NUMBER,  # seconds
        },
    ),
    "nvstreammux": Known(
        DEEPSTREAM + "src/apps/common/src/deepstream_streammux.c; " + DOCS + "Gst-nvstreammux",
        {
            "batch-size": NUMBER,
            "width": NUMBER,
            "height": NUMBER,
            "live-source": BOOLEAN,
            "batched-push-timeout": NUMBER,  # microseconds
            "nvbuf-memory-type": "[0-4]",
            "enable-padding": BOOLEAN,
        },
    ),
    "nvinferserver": Known(
        DEEPSTREAM + "src/gst-plugins/gst-nvinferserver/gstnvinferserver.cpp",
        {"config-file-path": ".+", "interval": NUMBER},  # skipped batches
    ),
    "nvvideoconvert": Known(
        DEEPSTREAM + "src/apps/common/src/deepstream_sink_bin.c; "
        "src/gst-plugins/gst-nvvideoconvert/gstnvvideoconvert.c",
        {"nvbuf-memory-type": "[0-4]", "disable-passthrough": BOOLEAN},
        "libgstnvvideoconvert.so",
    ),
    "nvdsosd": Known(
        DEEPSTREAM + "src/gst-plugins/gst-nvdsosd/gstnvdsosd.c",
        {"display-text": BOOLEAN, "display-bbox": BOOLEAN, "display-mask": BOOLEAN},
    ),
    "nvv4l2h264enc": Known(
        DEEPSTREAM + "src/apps/common/src/deepstream_sink_bin.c; " + DOCS + "Gst-nvvideo4linux2",
        {"bitrate": NUMBER, "iframeinterval": NUMBER, "idrinterval": NUMBER},
        "libgstnvvideo4linux2.so",
    ),
    "nveglglessink": Known(
        DEEPSTREAM + "src/apps/common/src/deepstream_sink_bin.c", {"sync": BOOLEAN}
    ),
    "nvdrmvideosink": Known(  # on Jetsons only
        DEEPSTREAM + "src/apps/common/src/deepstream_sink_bin.c, create_render_bin",
        {"sync": BOOLEAN},
    ),
    "nv3dsink": Known(DEEPSTREAM + "src/apps/common/src/deepstream_sink_bin.c", {"sync": BOOLEAN}),
}

MUX_PADS = {"nvstreammux": r"sink_\d+"}
"""Request pads: template `sink_%u`, Gst-nvstreammux of the DeepStream guide."""
