"""The groups of a deepstream-app file as dataclasses; their fields are NVIDIA's keys.

`deepstream.app_config.key_tables` defines the allowed values; it is used to write these groups and
to check other files.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

BITRATE = 8_000_000
"""Bits per second of the encoder: 1080p endoscope video without visible blocks."""
KEY_FRAMES = 30
"""Frames from one I frame to the next. Only one in 256 is an IDR frame, which a player waits for:
deepstream-app does not set nvv4l2h264enc's `idrinterval` (deepstream_sink_bin.c)."""
V4L2, URI, RTSP = 1, 2, 4
"""NvDsSourceType (deepstream_sources.h)."""
SCREEN, FILE, RTSP_OUT, DRM = 2, 3, 4, 5
"""NvDsSinkType (deepstream_sinks.h): 2 is nveglglessink on a dGPU, nv3dsink on a Jetson."""
MP4, MKV = 1, 2
H264, H264_HIGH = 1, 4
RTP_OVER_TCP = 4


@dataclass(frozen=True)
class Application:
    """`[application]`: prints a `**PERF` line every 5 seconds."""

    enable_perf_measurement: int = 1
    perf_measurement_interval_sec: int = 5


@dataclass(frozen=True)
class Source:
    """`[sourceN]`; a key that does not belong to the type is None and not written."""

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
class Muxer:
    """`[streammux]`: the batch, one frame of each source; the timeout in microseconds.

    A source of another shape gets borders instead of being stretched.
    """

    batch_size: int
    width: int
    height: int
    live_source: int
    batched_push_timeout: int
    enable_padding: int = 1


@dataclass(frozen=True)
class Inference:
    """`[primary-gie]`; plugin type 0 is nvinfer, 1 nvinferserver."""

    plugin_type: int
    batch_size: int
    config_file: str
    gie_unique_id: int
    enable: int = 1


@dataclass(frozen=True)
class SegVisual:
    """`[segvisual]`: nvsegvisual draws the mask; its size is that of the network's output."""

    batch_size: int
    width: int
    height: int
    enable: int = 1


@dataclass(frozen=True)
class Tiles:
    """`[tiled-display]`, also for one source: it restores the source's shape."""

    rows: int
    columns: int
    width: int
    height: int
    enable: int = 1


@dataclass(frozen=True)
class Osd:
    """`[osd]`: off, since there are no boxes and no text to draw."""

    enable: int = 0


@dataclass(frozen=True)
class Sink:
    """`[sinkN]`; a key that does not belong to the type is None and not written."""

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


def tiles(sources: int, width: int, height: int) -> Tiles:
    """Return the smallest near-square grid with a tile for every source."""
    columns = math.ceil(math.sqrt(sources))
    return Tiles(math.ceil(sources / columns), columns, width, height)


def encoder(software: bool) -> dict[str, Any]:
    """Return the H.264 keys that file and RTSP output share; x264enc's preset 2 is superfast."""
    keys: dict[str, Any] = {"codec": H264, "enc_type": int(software), "bitrate": BITRATE}
    if software:
        return {**keys, "sw_preset": 2}
    return {**keys, "profile": H264_HIGH, "iframeinterval": KEY_FRAMES}
