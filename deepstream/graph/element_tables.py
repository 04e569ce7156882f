"""What differs between the platforms: their elements and properties, stage by stage, as data.

    source.KIND     from a file, a folder of images, an RTSP stream, a V4L2 device or an SDI card
    frame           frames of one size and form, whatever comes
    inference.MODE  `every`: each frame its own mask; `latest`: the newest mask, at the clip's rate
                    (on DeepStream: of the frames that inference does not leave out);
                    `none`: what is left on DeepStream where nvinferserver gave up
    overlay         where the masks are drawn
    encoder.KIND    H.264, in hardware or software
    sink.KIND       a file, the screen, or RTP to the RTSP server
    sound           beside the picture, into the muxer; on DeepStream as it is stored in the file

Names and properties are NVIDIA's and GStreamer's own; where each was looked up stands in
tests/deepstream/graph/known_elements.py, and a test compares the two.
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
# A live source that is ahead of inference loses its oldest frame: old pictures help nobody.
FRESH = Row("queue", "fresh", {"leaky": "downstream", "max-size-buffers": "1", **UNBOUNDED})

PARSE = Row("h264parse", properties={"config-interval": "-1"})  # its headers before each key frame
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
    Row("jpegdec", properties={"max-errors": "-1"}),  # a frame torn on its way is no end
)
DECKLINK = Row("decklinkvideosrc", "source", {"device-number": "{device}", "mode": "auto"})
WHOLE = (
    Row("videoconvert"),  # for what the next one does not take
    Row("deinterlace", properties={"mode": "auto"}),  # 1080i is common over SDI
    FRESH,
)
DRAWN = Row("queue", "drawn", {"max-size-buffers": "4", **UNBOUNDED})

GSTREAMER_TABLE: Table = {
    "source.file": (
        Row("uridecodebin", "source", {"uri": "{uri}"}, delayed=True),
        Row("videoconvert"),
        # A recorder's 1080i or 576i made whole, as many frames as the file has.
        Row("deinterlace", properties={"mode": "auto", "fields": "top"}),
        Row("videoflip", properties={"video-direction": "auto"}),  # as the file asks for
    ),
    "source.images": (Row("appsrc", "source"),),
    "source.rtsp": (
        # Its own default holds every frame back for two seconds.
        Row("rtspsrc", "source", {"location": "{uri}", "latency": "{latency_ms}"}, delayed=True),
        Row("decodebin", "decoder", delayed=True),
        FRESH,
    ),
    "source.v4l2": (*RAW, *WHOLE),
    "source.v4l2-jpeg": (*JPEG, *WHOLE),
    "source.decklink": (DECKLINK, *WHOLE),
    "frame": (
        Row("videoconvert", "input", head=True),
        Row("videoscale", properties={"add-borders": "true"}),
        # A free aspect ratio would change with the input's size, and no muxer takes that.
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
        DRAWN,
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
CAPTURED = (
    *WHOLE,
    Row("nvvideoconvert", properties={"nvbuf-memory-type": "{memory}"}),
    Row("capsfilter", properties={"caps": f"{NVMM},format=NV12"}),
)
NVURISRCBIN = {"uri": "{uri}", "disable-audio": "true"}
HARDWARE = (
    Row("nvvideoconvert"),
    Row("capsfilter", properties={"caps": f"{NVMM},format=I420"}),
    # Who joins a stream, or seeks in a file, needs an IDR frame: one in 256 unless told.
    Row(
        "nvv4l2h264enc",
        "encoder",
        {"bitrate": "{bits}", "iframeinterval": "50", "idrinterval": "50"},
    ),
)
FROM_GPU = (
    Row("nvvideoconvert"),
    Row("capsfilter", properties={"caps": "video/x-raw,format=I420"}),
)

CANVAS = (
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
        FRESH,
    ),
    "source.v4l2": (*RAW, *CAPTURED),
    "source.v4l2-jpeg": (*JPEG, *CAPTURED),
    "source.decklink": (DECKLINK, *CAPTURED),
    "frame": (
        Row(
            "nvstreammux",
            "mux",
            {
                "batch-size": "1",
                "width": "{width}",
                "height": "{height}",
                "live-source": "{live}",
                "batched-push-timeout": "40000",  # microseconds: a frame of 25 a second
                "nvbuf-memory-type": "{memory}",
                "enable-padding": "true",  # borders rather than a stretched picture
            },
            sink_pad="sink_0",
            head=True,
        ),
    ),
    "inference.every": (
        Row("nvinferserver", "inference", {"config-file-path": "{infer_config}"}),
        *CANVAS,
    ),
    "inference.latest": (
        Row(
            "nvinferserver",
            "inference",
            {"config-file-path": "{infer_config}", "interval": "{interval}"},
        ),
        *CANVAS,
    ),
    "inference.none": CANVAS,
    "overlay": (
        Row(
            "nvdsosd",
            "overlay",
            {"display-text": "true", "display-bbox": "false", "display-mask": "false"},
            probes=(("sink", "frame_leaves"),),
        ),
        DRAWN,
    ),
    "encoder.hardware": HARDWARE,
    "encoder.hardware-live": HARDWARE,
    "encoder.software": (*FROM_GPU, Row("x264enc", "encoder", X264_FILE)),
    "encoder.software-live": (*FROM_GPU, Row("x264enc", "encoder", X264_LIVE)),
    "sink.file": FILE,
    "sink.rtsp": RTSP,
    # NVIDIA's containers have no decoders of sound, so it is not decoded.
    "sound": (
        Row("filesrc", "listening", {"location": "{path}"}, apart=True),
        Row("parsebin", "streams", delayed=True),
        Row("queue", "sound", head=True),
        Row("capsfilter", properties={"caps": "{audio_format}"}),  # tells the muxer which pad
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
