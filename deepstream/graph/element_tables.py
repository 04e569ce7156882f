"""Elements and properties of each platform, by stage.

    source.KIND     file, folder of images, RTSP stream, V4L2 device or SDI card
    frame           frames of one size and format
    inference.MODE  `every`: each frame gets its own mask; `latest`: the newest mask, at the
                    source's frame rate (on DeepStream: of the frames that inference processes);
                    `none`: on DeepStream, after nvinferserver failed
    overlay         draws the masks
    encoder.KIND    H.264, in hardware or software
    sink.KIND       file, screen, or RTP for the RTSP server
    sound           audio branch into the muxer; on DeepStream as it is stored in the file

Names and properties are NVIDIA's and GStreamer's. tests/deepstream/graph/known_elements.py lists
the source of each, and a test compares them.
"""

from __future__ import annotations

from deepstream.graph.description import Row, Table
from xpnet.platforms import DGPU, GSTREAMER, JETSON

# `quantizer` 20 shows no artefact on mucosa; `veryfast` leaves the cores to inference.
X264_FILE = {
    "pass": "quant", "quantizer": "20", "speed-preset": "veryfast", "key-int-max": "50"
}  # fmt: skip
X264_LIVE = {
    "bitrate": "{kilobits}", "speed-preset": "veryfast", "tune": "zerolatency",
    "key-int-max": "50"
}  # fmt: skip
UNBOUNDED = {"max-size-bytes": "0", "max-size-time": "0"}
# If a live source is faster than inference, its oldest frame is dropped.
LEAKY_QUEUE = Row("queue", "fresh", {"leaky": "downstream", "max-size-buffers": "1", **UNBOUNDED})

PARSE = Row("h264parse", properties={"config-interval": "-1"})  # headers before each key frame
FILE = (
    Row("h264parse"),
    Row("{muxer}", "muxer"),
    Row("filesink", "sink", {"location": "{location}"}),
)
RTSP = (
    PARSE,
    Row("rtph264pay"),
    Row(
        "udpsink",
        "sink",
        {"host": "127.0.0.1", "port": "{rtp_port}", "sync": "{sync}", "async": "false"},
    ),
)
V4L2 = Row("v4l2src", "source", {"device": "{device}"})
RAW = (
    V4L2,
    Row("capsfilter", "asked", {"caps": "video/x-raw,width={width},height={height}{rate}"}),
)
JPEG = (
    V4L2,
    Row("capsfilter", "asked", {"caps": "image/jpeg,width={width},height={height}{rate}"}),
    Row("jpegdec", properties={"max-errors": "-1"}),  # a broken frame does not end the stream
)
DECKLINK = Row("decklinkvideosrc", "source", {"device-number": "{device}", "mode": "auto"})
DEINTERLACE = (
    Row("videoconvert"),  # formats that deinterlace does not accept
    Row("deinterlace", properties={"mode": "auto"}),  # 1080i is common over SDI
    LEAKY_QUEUE,
)
DRAWN_QUEUE = Row("queue", "drawn", {"max-size-buffers": "4", **UNBOUNDED})

GSTREAMER_TABLE: Table = {
    "source.file": (
        Row("uridecodebin", "source", {"uri": "{uri}"}, delayed=True),
        Row("videoconvert"),
        # Deinterlace 1080i or 576i; one frame for each pair of fields.
        Row("deinterlace", properties={"mode": "auto", "fields": "top"}),
        Row("videoflip", properties={"video-direction": "auto"}),  # rotate as the metadata says
    ),
    "source.images": (Row("appsrc", "source"),),
    "source.rtsp": (
        # The default latency is two seconds.
        Row("rtspsrc", "source", {"location": "{uri}", "latency": "{latency_ms}"}, delayed=True),
        Row("decodebin", "decoder", delayed=True),
        LEAKY_QUEUE,
    ),
    "source.v4l2": (*RAW, *DEINTERLACE),
    "source.v4l2-jpeg": (*JPEG, *DEINTERLACE),
    "source.decklink": (DECKLINK, *DEINTERLACE),
    "frame": (
        Row("videoconvert", "input", head=True),
        Row("videoscale", properties={"add-borders": "true"}),
        # Without it the aspect ratio would follow the input's size, which no muxer accepts.
        Row(
            "capsfilter",
            "canvas",
            {"caps": "video/x-raw,format=RGBA,width={width},height={height},"
                     "pixel-aspect-ratio={pixel_aspect_ratio}"},
        ),
    ),
    "inference.every": (
        Row("identity", "pacer", {"silent": "true"}, probes=(("src", "frame_arrived"),)),
        Row("queue", "inflight", {"max-size-buffers": "{in_flight}", **UNBOUNDED}),
    ),
    "inference.latest": (
        Row("clocksync", "pacer", probes=(("src", "frame_arrived"),)),
        Row("queue", "inflight", {"max-size-buffers": "{in_flight}", **UNBOUNDED}),
    ),
    "overlay": (
        Row("identity", "overlay", {"silent": "true"}, probes=(("src", "frame_leaves"),)),
        DRAWN_QUEUE,
    ),
    "encoder.software": (
        Row("videocrop", properties={"right": "{odd_width}", "bottom": "{odd_height}"}),
        Row("videoconvert"),
        Row("capsfilter", properties={"caps": "video/x-raw,format=I420"}),
        Row("x264enc", "encoder", X264_FILE),
    ),
    "encoder.software-live": (
        Row("videocrop", properties={"right": "{odd_width}", "bottom": "{odd_height}"}),
        Row("videoconvert"),
        Row("capsfilter", properties={"caps": "video/x-raw,format=I420"}),
        Row("x264enc", "encoder", X264_LIVE),
    ),
    "sink.file": FILE,
    "sink.rtsp": RTSP,
    "sink.screen": (
        Row("videoconvert"),
        Row("autovideosink", "sink", {"sync": "{sync}"}),
    ),
    "sound": (
        Row("queue", "sound", {"max-size-buffers": "0", **UNBOUNDED}, head=True),
        Row("audioconvert"),
        Row("audioresample"),
        Row("avenc_aac"),
        Row("aacparse"),
    ),
}  # fmt: skip

NVMM = "video/x-raw(memory:NVMM)"
DEINTERLACE_AND_UPLOAD = (
    *DEINTERLACE,
    Row("nvvideoconvert", properties={"nvbuf-memory-type": "{memory}"}),
    Row("capsfilter", properties={"caps": f"{NVMM},format=NV12"}),
)
NVURISRCBIN = {"uri": "{uri}", "disable-audio": "true"}
NVENC = (
    Row("nvvideoconvert"),
    Row("capsfilter", properties={"caps": f"{NVMM},format=I420"}),
    # A viewer that joins, or seeks, needs an IDR frame; by default only one frame in 256 is one.
    Row(
        "nvv4l2h264enc",
        "encoder",
        {"bitrate": "{bits}", "iframeinterval": "50", "idrinterval": "50"},
    ),
)
COPY_FROM_GPU = (
    Row("nvvideoconvert"),
    Row("capsfilter", properties={"caps": "video/x-raw,format=I420"}),
)

RGBA_CANVAS = (
    Row("queue", "inflight", {"max-size-buffers": "{in_flight}", **UNBOUNDED}),
    Row("nvvideoconvert", properties={"nvbuf-memory-type": "{memory}"}),
    Row("capsfilter", "canvas", {"caps": f"{NVMM},format=RGBA"}),
)

DEEPSTREAM_TABLE: Table = {
    "source.file": (Row("nvurisrcbin", "source", NVURISRCBIN, delayed=True),),
    "source.rtsp": (
        Row(
            "nvurisrcbin",
            "source",
            {**NVURISRCBIN, "latency": "{latency_ms}", "rtsp-reconnect-interval": "5"},
            delayed=True,
        ),
        LEAKY_QUEUE,
    ),
    "source.v4l2": (*RAW, *DEINTERLACE_AND_UPLOAD),
    "source.v4l2-jpeg": (*JPEG, *DEINTERLACE_AND_UPLOAD),
    "source.decklink": (DECKLINK, *DEINTERLACE_AND_UPLOAD),
    "frame": (
        Row(
            "nvstreammux",
            "mux",
            {
                "batch-size": "1",
                "width": "{width}",
                "height": "{height}",
                "live-source": "{live}",
                "batched-push-timeout": "40000",  # microseconds: one frame at 25 fps
                "nvbuf-memory-type": "{memory}",
                "enable-padding": "true",  # borders instead of stretching
            },
            sink_pad="sink_0",
            head=True,
        ),
    ),
    "inference.every": (
        Row("nvinferserver", "inference", {"config-file-path": "{infer_config}"}),
        *RGBA_CANVAS,
    ),
    "inference.latest": (
        Row(
            "nvinferserver",
            "inference",
            {"config-file-path": "{infer_config}", "interval": "{interval}"},
        ),
        *RGBA_CANVAS,
    ),
    "inference.none": RGBA_CANVAS,
    "overlay": (
        Row(
            "nvdsosd",
            "overlay",
            {"display-text": "true", "display-bbox": "false", "display-mask": "false"},
            probes=(("sink", "frame_leaves"),),
        ),
        DRAWN_QUEUE,
    ),
    "encoder.hardware": NVENC,
    "encoder.hardware-live": NVENC,
    "encoder.software": (*COPY_FROM_GPU, Row("x264enc", "encoder", X264_FILE)),
    "encoder.software-live": (*COPY_FROM_GPU, Row("x264enc", "encoder", X264_LIVE)),
    "sink.file": FILE,
    "sink.rtsp": RTSP,
    # NVIDIA's containers have no audio decoders, so audio is copied.
    "sound": (
        Row("filesrc", "listening", {"location": "{path}"}, apart=True),
        Row("parsebin", "streams", delayed=True),
        Row("queue", "sound", head=True),
        Row("capsfilter", properties={"caps": "{audio_format}"}),  # selects the muxer's pad
    ),
    "sink.screen": (
        Row("nvvideoconvert"),
        Row("capsfilter", properties={"caps": NVMM}),
        Row("nveglglessink", "sink", {"sync": "{sync}"}),
    ),
}

TABLES: dict[str, Table] = {
    GSTREAMER: GSTREAMER_TABLE,
    DGPU: DEEPSTREAM_TABLE,
    JETSON: {
        **DEEPSTREAM_TABLE,
        "sink.screen": (Row("nv3dsink", "sink", {"sync": "{sync}"}),),
    },
}
"""By platform; `deepstream-jetson` is DeepStream on a Jetson."""
MEMORY = {GSTREAMER: "", DGPU: "3", JETSON: "0"}
"""`nvbuf-memory-type`: 3 is CUDA's unified memory, the only one in which a probe on a dGPU sees
pixels; on a Jetson 0, the default, is the surface array, which pyds maps."""
