"""Elements and properties of each platform, by stage.

    source.KIND     file, folder of images, RTSP stream, V4L2 device, SDI card, a file played as if
                    live, or a test pattern
    frame           frames of one size, in a format that can be drawn on
    inference.MODE  `every`: each frame gets its own mask; `latest`: the newest mask, at the
                    source's frame rate (on DeepStream: of the frames that inference processes);
                    `none`: on DeepStream, after nvinferserver failed
    overlay         draws the masks
    encoder.KIND    H.264, in hardware or software
    sink.KIND       file, screen, drm (a Jetson's screen without a desktop), none, or RTP for
                    the RTSP server
    shown           with a preview: the tee to its branch
    recorded        with a recorder: the tee to its branch
    branch.NAME     branch from the element NAME: inference beside the picture's path, preview,
                    recording
    sound           audio branch into the muxer; on DeepStream as it is stored in the file

Names and properties are NVIDIA's and GStreamer's. tests/deepstream/graph/known_elements.py lists
the source of each, and a test compares them.
"""

from __future__ import annotations

from deepstream.graph.description import ElementSpec, Table
from xpnet.platforms import DGPU, GSTREAMER, JETSON

# Without VUI a stream states neither matrix nor range, unless an option of x264 adds the range.
# `quantizer` 20 shows no artefact on mucosa; `veryfast` leaves the cores to inference.
X264_FILE = {
    "pass": "quant", "quantizer": "20", "speed-preset": "veryfast", "key-int-max": "50",
    "insert-vui": "{write_tags}", "option-string": "{x264_options}"
}  # fmt: skip
X264_LIVE = {
    "bitrate": "{kilobits}", "speed-preset": "veryfast", "tune": "zerolatency",
    "key-int-max": "50", "insert-vui": "{write_tags}", "option-string": "{x264_options}"
}  # fmt: skip
UNBOUNDED = {"max-size-bytes": "0", "max-size-time": "0"}
# If a live source is faster than the graph, its oldest frame is dropped.
LEAKY_QUEUE = ElementSpec(
    "queue", "leaky", {"leaky": "downstream", "max-size-buffers": "{waiting}", **UNBOUNDED}
)

PARSE = ElementSpec(
    "h264parse", properties={"config-interval": "-1"}
)  # headers before each key frame
FILE = (
    ElementSpec("h264parse"),
    ElementSpec("{muxer}", "muxer"),
    ElementSpec("filesink", "sink", {"location": "{location}"}),
)
RTSP = (
    PARSE,
    ElementSpec("rtph264pay"),
    ElementSpec(
        "udpsink",
        "sink",
        {"host": "127.0.0.1", "port": "{rtp_port}", "sync": "{sync}", "async": "false"},
    ),
)
V4L2 = ElementSpec("v4l2src", "source", {"device": "{device}"})
RAW = (
    V4L2,
    ElementSpec(
        "capsfilter", "device_caps", {"caps": "video/x-raw,width={width},height={height}{rate}"}
    ),
)
JPEG = (
    V4L2,
    ElementSpec(
        "capsfilter", "device_caps", {"caps": "image/jpeg,width={width},height={height}{rate}"}
    ),
    ElementSpec(
        "jpegdec", properties={"max-errors": "-1"}
    ),  # a broken frame does not end the stream
)
DECODED_FILE = (
    ElementSpec("uridecodebin", "source", {"uri": "{uri}"}, dynamic_pads=True),
    ElementSpec("videoconvert", "decoded"),
    # Deinterlace 1080i or 576i; one frame for each pair of fields.
    ElementSpec("deinterlace", properties={"mode": "auto", "fields": "top"}),
)
DECKLINK = ElementSpec("decklinkvideosrc", "source", {"device-number": "{device}", "mode": "auto"})
TEST = (
    ElementSpec("videotestsrc", "source", {"is-live": "true", "pattern": "smpte"}),
    ElementSpec(
        "capsfilter", "device_caps", {"caps": "video/x-raw,width={width},height={height}{rate}"}
    ),
    LEAKY_QUEUE,
)
DEINTERLACE = (
    ElementSpec("videoconvert"),  # formats that deinterlace does not accept
    ElementSpec("deinterlace", properties={"mode": "auto"}),  # 1080i is common over SDI
    LEAKY_QUEUE,
)
DISCARD = ElementSpec("fakesink", "sink", {"sync": "false", "enable-last-sample": "false"})
SHOWN = ElementSpec("tee", "shown")
PREVIEW_QUEUE = ElementSpec(
    "queue", "previewed", {"leaky": "downstream", "max-size-buffers": "1", **UNBOUNDED}
)
PREVIEW_SINK = ElementSpec(
    "fakesink",
    "preview",
    {"sync": "false", "async": "false", "enable-last-sample": "false"},
    probes=(("sink", "frame_shown"),),
)
DRAWN_QUEUE = ElementSpec("queue", "drawn", {"max-size-buffers": "4", **UNBOUNDED})

TO_ENCODER = (
    ElementSpec("videocrop", properties={"right": "{odd_width}", "bottom": "{odd_height}"}),
    ElementSpec("videoconvert"),
    ElementSpec("capsfilter", properties={"caps": "video/x-raw,format={encoded_formats}"}),
)

# Encodes for deepstream.recording, only while frames are let in.
RECORDED = (
    ElementSpec("queue", "recorded_queue",
                {"leaky": "downstream", "max-size-buffers": "8", **UNBOUNDED}),
    ElementSpec("valve", "recorded_valve",
                {"drop": "true", "drop-mode": "forward-sticky-events"}),
    *TO_ENCODER,
    ElementSpec("x264enc", "recorded_encoder",
                {**X264_LIVE, "key-int-max": "25", "speed-preset": "superfast"}),
    ElementSpec("h264parse"),
    ElementSpec("capsfilter", properties={"caps": "video/x-h264,stream-format=avc,alignment=au"}),
    ElementSpec("appsink", "recorded_frames",
                {"sync": "false", "async": "false", "emit-signals": "true",
                 "enable-last-sample": "false"}),
)  # fmt: skip

GSTREAMER_TABLE: Table = {
    "source.file": DECODED_FILE,
    # Rotate as the metadata says. Only there: videoflip does not accept every format.
    "source.file-rotated": (
        *DECODED_FILE,
        ElementSpec("videoconvert"),
        ElementSpec("videoflip", properties={"video-direction": "auto"}),
    ),
    "source.images": (ElementSpec("appsrc", "source"),),
    "source.live-file": (*DECODED_FILE, ElementSpec("clocksync", "pacing"), LEAKY_QUEUE),
    "source.testpattern": TEST,
    "source.rtsp": (
        # The default latency is two seconds.
        ElementSpec(
            "rtspsrc",
            "source",
            {"location": "{uri}", "latency": "{latency_ms}"},
            dynamic_pads=True,
        ),
        ElementSpec("decodebin", "decoder", dynamic_pads=True),
        LEAKY_QUEUE,
    ),
    "source.v4l2": (*RAW, *DEINTERLACE),
    "source.v4l2-jpeg": (*JPEG, *DEINTERLACE),
    "source.decklink": (DECKLINK, *DEINTERLACE),
    "frame": (
        ElementSpec("videoconvert", "input", accepts_eos=True),
        ElementSpec("videoscale", properties={"add-borders": "true"}),
        # Without it the aspect ratio would follow the input's size, which no muxer accepts.
        ElementSpec(
            "capsfilter",
            "canvas",
            {"caps": "video/x-raw,format={drawn_formats},width={width},height={height},"
                     "pixel-aspect-ratio={pixel_aspect_ratio}"},
        ),
    ),
    "inference.every": (
        ElementSpec("identity", "pacer", {"silent": "true"}, probes=(("src", "frame_arrived"),)),
        ElementSpec("queue", "inflight", {"max-size-buffers": "{in_flight}", **UNBOUNDED}),
    ),
    "inference.latest": (
        # A live frame goes on at once; waiting for its time would add the source's latency.
        ElementSpec("clocksync", "pacer", {"sync": "{sync}"}),
        ElementSpec("tee", "fork", probes=(("sink", "frame_enters"),)),
    ),
    # The picture does not wait for inference: of the frames that arrive meanwhile one is kept.
    "branch.fork": (
        ElementSpec(
            "queue", "newest", {"leaky": "downstream", "max-size-buffers": "1", **UNBOUNDED}
        ),
        ElementSpec(
            "fakesink",
            "inference",
            {"sync": "false", "async": "false", "enable-last-sample": "false"},
            probes=(("sink", "frame_arrived"),),
        ),
    ),
    "overlay": (
        ElementSpec("identity", "overlay", {"silent": "true"}, probes=(("src", "frame_leaves"),)),
        DRAWN_QUEUE,
    ),
    "shown": (SHOWN,),
    "branch.shown": (PREVIEW_QUEUE, PREVIEW_SINK),
    "recorded": (ElementSpec("tee", "recorded"),),
    "branch.recorded": RECORDED,
    "encoder.software": (*TO_ENCODER, ElementSpec("x264enc", "encoder", X264_FILE)),
    "encoder.software-live": (*TO_ENCODER, ElementSpec("x264enc", "encoder", X264_LIVE)),
    "sink.file": FILE,
    "sink.rtsp": RTSP,
    "sink.none": (DISCARD,),
    "sink.screen": (
        ElementSpec("videoconvert"),
        ElementSpec("videoscale", properties={"add-borders": "true"}),  # ximagesink does not scale
        ElementSpec("{window}", "sink", {"sync": "{sync}"}),
    ),
    "sound": (
        ElementSpec("queue", "sound", {"max-size-buffers": "0", **UNBOUNDED}, accepts_eos=True),
        ElementSpec("audioconvert"),
        ElementSpec("audioresample"),
        ElementSpec("avenc_aac"),
        ElementSpec("aacparse"),
    ),
}  # fmt: skip

NVMM = "video/x-raw(memory:NVMM)"
UPLOAD = (
    ElementSpec("nvvideoconvert", properties={"nvbuf-memory-type": "{memory}"}),
    ElementSpec("capsfilter", properties={"caps": f"{NVMM},format=NV12"}),
)
DEINTERLACE_AND_UPLOAD = (*DEINTERLACE, *UPLOAD)
NVURISRCBIN = {"uri": "{uri}", "disable-audio": "true"}
# A frame that is kept (deepstream.io.held_frame) must not be in the memory of the decoder:
# nvurisrcbin removes the decoder when it reconnects. Copies the frame into memory of its own.
HELD = ElementSpec(
    "nvvideoconvert", "held", {"nvbuf-memory-type": "{memory}", "disable-passthrough": "true"}
)
NVENC = (
    ElementSpec("nvvideoconvert"),
    ElementSpec("capsfilter", properties={"caps": f"{NVMM},format=I420"}),
    # A viewer that joins, or seeks, needs an IDR frame; by default only one frame in 256 is one.
    ElementSpec(
        "nvv4l2h264enc",
        "encoder",
        {"bitrate": "{bits}", "iframeinterval": "50", "idrinterval": "50"},
    ),
)
COPY_FROM_GPU = (
    ElementSpec("nvvideoconvert"),
    ElementSpec("capsfilter", properties={"caps": "video/x-raw,format=I420"}),
)

RGBA_CANVAS = (
    ElementSpec("queue", "inflight", {"max-size-buffers": "{in_flight}", **UNBOUNDED}),
    ElementSpec("nvvideoconvert", properties={"nvbuf-memory-type": "{memory}"}),
    ElementSpec("capsfilter", "canvas", {"caps": f"{NVMM},format=RGBA"}),
)

DEEPSTREAM_TABLE: Table = {
    "source.file": (ElementSpec("nvurisrcbin", "source", NVURISRCBIN, dynamic_pads=True),),
    "source.rtsp": (
        ElementSpec(
            "nvurisrcbin",
            "source",
            {**NVURISRCBIN, "latency": "{latency_ms}", "rtsp-reconnect-interval": "5"},
            dynamic_pads=True,
        ),
        LEAKY_QUEUE,
        HELD,
    ),
    "source.live-file": (
        ElementSpec(
            "nvurisrcbin", "source", {**NVURISRCBIN, "file-loop": "true"}, dynamic_pads=True
        ),
        ElementSpec("clocksync"),
        LEAKY_QUEUE,
        HELD,
    ),
    "source.testpattern": (*TEST, *UPLOAD),
    "source.v4l2": (*RAW, *DEINTERLACE_AND_UPLOAD),
    "source.v4l2-jpeg": (*JPEG, *DEINTERLACE_AND_UPLOAD),
    "source.decklink": (DECKLINK, *DEINTERLACE_AND_UPLOAD),
    "frame": (
        ElementSpec(
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
            accepts_eos=True,
        ),
    ),
    "inference.every": (
        ElementSpec("nvinferserver", "inference", {"config-file-path": "{infer_config}"}),
        *RGBA_CANVAS,
    ),
    "inference.latest": (
        ElementSpec(
            "nvinferserver",
            "inference",
            {"config-file-path": "{infer_config}", "interval": "{interval}"},
        ),
        *RGBA_CANVAS,
    ),
    "inference.none": RGBA_CANVAS,
    "overlay": (
        ElementSpec(
            "nvdsosd",
            "overlay",
            {"display-text": "true", "display-bbox": "false", "display-mask": "false"},
            probes=(("sink", "frame_leaves"),),
        ),
        DRAWN_QUEUE,
    ),
    "shown": (SHOWN,),
    "branch.shown": (
        PREVIEW_QUEUE,
        ElementSpec("nvvideoconvert"),
        ElementSpec("capsfilter", properties={"caps": "video/x-raw,format=RGBA"}),
        PREVIEW_SINK,
    ),
    "encoder.hardware": NVENC,
    "encoder.hardware-live": NVENC,
    "encoder.software": (*COPY_FROM_GPU, ElementSpec("x264enc", "encoder", X264_FILE)),
    "encoder.software-live": (*COPY_FROM_GPU, ElementSpec("x264enc", "encoder", X264_LIVE)),
    "sink.file": FILE,
    "sink.rtsp": RTSP,
    # NVIDIA's containers have no audio decoders, so audio is copied.
    "sound": (
        ElementSpec("filesrc", "audio_file", {"location": "{path}"}, starts_branch=True),
        ElementSpec("parsebin", "audio_parser", dynamic_pads=True),
        ElementSpec("queue", "sound", accepts_eos=True),
        ElementSpec("capsfilter", properties={"caps": "{audio_format}"}),  # selects the muxer's pad
    ),
    "sink.none": (DISCARD,),
    "sink.screen": (
        ElementSpec("nvvideoconvert"),
        ElementSpec("capsfilter", properties={"caps": NVMM}),
        ElementSpec("nveglglessink", "sink", {"sync": "{sync}"}),
    ),
}

TABLES: dict[str, Table] = {
    GSTREAMER: GSTREAMER_TABLE,
    DGPU: DEEPSTREAM_TABLE,
    JETSON: {
        **DEEPSTREAM_TABLE,
        "sink.screen": (ElementSpec("nv3dsink", "sink", {"sync": "{sync}"}),),
        "sink.drm": (
            ElementSpec("nvvideoconvert"),
            ElementSpec("capsfilter", properties={"caps": f"{NVMM},format=NV12"}),
            ElementSpec("nvdrmvideosink", "sink", {"sync": "{sync}"}),
        ),
    },
}
"""By platform; `deepstream-jetson` is DeepStream on a Jetson."""
MEMORY = {GSTREAMER: "", DGPU: "3", JETSON: "0"}
"""`nvbuf-memory-type`: 3 is CUDA's unified memory, the only type whose pixels a probe can read on a
dGPU. On a Jetson 0, the default, is the surface array, which pyds maps."""
