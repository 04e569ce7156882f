"""The groups of a deepstream-app file as dataclasses; their fields are NVIDIA's keys.

The allowed values are in `deepstream.app_config.key_tables`. `deepstream.app_config.app_file` makes
the groups of a deployment.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

BITRATE_BPS = 8_000_000
"""Bits per second of the encoder: 1080p endoscope video without visible blocks."""
I_FRAME_INTERVAL = 30
"""Frames from one I frame to the next. Only one in 256 is an IDR frame, which a player waits for:
deepstream-app does not set nvv4l2h264enc's `idrinterval` (deepstream_sink_bin.c)."""
SOURCE_V4L2, SOURCE_URI, SOURCE_MULTI_URI, SOURCE_RTSP = 1, 2, 3, 4
"""`type` of a source, NvDsSourceType (deepstream_sources.h)."""
SINK_SCREEN, SINK_FILE, SINK_RTSP, SINK_DRM = 2, 3, 4, 5
"""`type` of a sink, NvDsSinkType (deepstream_sinks.h): 2 is nveglglessink on a discrete GPU,
nv3dsink on a Jetson."""
CONTAINER_MP4, CONTAINER_MKV = 1, 2
CODEC_H264, PROFILE_HIGH = 1, 4
SUPERFAST = 2
"""`sw-preset` of x264enc."""
RTP_OVER_TCP = 4
"""`select-rtp-protocol` of a source."""


@dataclass(frozen=True)
class Application:
    """`[application]`: prints a `**PERF` line every 5 seconds."""

    enable_perf_measurement: int = 1
    perf_measurement_interval_sec: int = 5


@dataclass(frozen=True)
class Source:
    """`[sourceN]`; a key that its type does not use is None and not written."""

    type: int
    enable: int = 1
    uri: str | None = None
    camera_width: int | None = None
    camera_height: int | None = None
    camera_fps_n: int | None = None
    camera_fps_d: int | None = None
    camera_v4l2_dev_node: int | None = None
    latency: int | None = None  # ms that rtspsrc may delay a packet
    select_rtp_protocol: int | None = None
    rtsp_reconnect_interval_sec: int | None = None
    rtsp_reconnect_attempts: int | None = None


@dataclass(frozen=True)
class Streammux:
    """`[streammux]`: makes batches of one frame of each source.

    A source with another aspect ratio gets borders instead of being stretched.
    """

    batch_size: int
    width: int
    height: int
    live_source: int
    batched_push_timeout: int  # microseconds
    enable_padding: int = 1


@dataclass(frozen=True)
class PrimaryGie:
    """`[primary-gie]`: inference; plugin type 0 is nvinfer, 1 is nvinferserver."""

    plugin_type: int
    batch_size: int
    config_file: str
    gie_unique_id: int
    enable: int = 1


@dataclass(frozen=True)
class SegVisual:
    """`[segvisual]`: nvsegvisual replaces the frame by the mask, in the network's output size."""

    batch_size: int
    width: int
    height: int
    enable: int = 1


@dataclass(frozen=True)
class TiledDisplay:
    """`[tiled-display]`: one tile for each source; also for one source, to scale to its size."""

    rows: int
    columns: int
    width: int
    height: int
    enable: int = 1


@dataclass(frozen=True)
class Osd:
    """`[osd]`: disabled, since there are no boxes and no text to draw."""

    enable: int = 0


@dataclass(frozen=True)
class Sink:
    """`[sinkN]`; a key that its type does not use is None and not written."""

    type: int
    sync: int
    enable: int = 1
    width: int | None = None
    height: int | None = None
    container: int | None = None
    codec: int | None = None
    enc_type: int | None = None  # 0 hardware, 1 software
    sw_preset: int | None = None
    profile: int | None = None
    bitrate: int | None = None
    iframeinterval: int | None = None
    output_file: str | None = None
    rtsp_port: int | None = None
    udp_port: int | None = None


def tiled_display(sources: int, width: int, height: int) -> TiledDisplay:
    """Return the smallest near-square grid that has a tile for every source.

    Args:
        sources: Number of sources.
        width: Width of the whole picture in pixels.
        height: Height of the whole picture in pixels.
    """
    columns = math.ceil(math.sqrt(sources))
    return TiledDisplay(math.ceil(sources / columns), columns, width, height)


def encoder_keys(software: bool, to_file: bool) -> dict[str, Any]:
    """Return the H.264 keys of a file sink or RTSP sink.

    Args:
        software: True for x264enc, False for nvv4l2h264enc.
        to_file: Whether it is a file sink; for RTSP deepstream-app sets x264enc's bitrate only
            (create_udpsink_bin in deepstream_sink_bin.c).
    """
    keys: dict[str, Any] = {
        "codec": CODEC_H264,
        "enc_type": int(software),
        "bitrate": BITRATE_BPS,
    }
    if software:
        return {**keys, "sw_preset": SUPERFAST} if to_file else keys
    return {**keys, "profile": PROFILE_HIGH, "iframeinterval": I_FRAME_INTERVAL}
