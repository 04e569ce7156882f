"""The pixels of a buffer inside a pad probe, read or written in place.

PyGObject hands a probe its buffer with a reference more, so mapping it for writing always fails,
and mapping its memory instead would write into what a tee's other branch shows. So the pointer
is taken from the GstPadProbeInfo itself: gst_mini_object_make_writable copies a shared buffer
and leaves an unshared one alone, and the probe passes on what it made.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from deepstream.gstreamer import Gst
from xpnet.frames import Frame

MAP_READ, MAP_WRITE = 1, 2
CHANNELS = 4  # RGBA
CLOCK_TIME_NONE = 2**64 - 1


class _MapInfo(ctypes.Structure):
    """GstMapInfo of gst/gstmemory.h."""

    _fields_ = [
        ("memory", ctypes.c_void_p),
        ("flags", ctypes.c_int),
        ("data", ctypes.POINTER(ctypes.c_uint8)),
        ("size", ctypes.c_size_t),
        ("maxsize", ctypes.c_size_t),
        ("user_data", ctypes.c_void_p * 4),
        ("reserved", ctypes.c_void_p * 4),
    ]


class _ProbeInfo(ctypes.Structure):
    """The head of GstPadProbeInfo of gst/gstpad.h."""

    _fields_ = [
        ("type", ctypes.c_int),
        ("id", ctypes.c_ulong),
        ("data", ctypes.c_void_p),
    ]


class _Buffer(ctypes.Structure):
    """The head of GstBuffer of gst/gstbuffer.h."""

    _fields_ = [
        ("mini_object", ctypes.c_uint8 * 64),
        ("pool", ctypes.c_void_p),
        ("pts", ctypes.c_uint64),
    ]


class _VideoMeta(ctypes.Structure):
    """The head of GstVideoMeta of gst/video/gstvideometa.h."""

    _fields_ = [
        ("meta_flags", ctypes.c_int),
        ("meta_info", ctypes.c_void_p),
        ("buffer", ctypes.c_void_p),
        ("flags", ctypes.c_int),
        ("format", ctypes.c_int),
        ("id", ctypes.c_int),
        ("width", ctypes.c_uint),
        ("height", ctypes.c_uint),
        ("n_planes", ctypes.c_uint),
        ("offset", ctypes.c_size_t * 4),
        ("stride", ctypes.c_int * 4),
    ]


_gst = ctypes.CDLL("libgstreamer-1.0.so.0")
_gst.gst_mini_object_make_writable.restype = ctypes.c_void_p
_gst.gst_mini_object_make_writable.argtypes = [ctypes.c_void_p]
_gst.gst_buffer_map.restype = ctypes.c_int
_gst.gst_buffer_map.argtypes = [ctypes.c_void_p, ctypes.POINTER(_MapInfo), ctypes.c_int]
_gst.gst_buffer_unmap.argtypes = [ctypes.c_void_p, ctypes.POINTER(_MapInfo)]
_video = ctypes.CDLL("libgstvideo-1.0.so.0")
_video.gst_buffer_get_video_meta.restype = ctypes.POINTER(_VideoMeta)
_video.gst_buffer_get_video_meta.argtypes = [ctypes.c_void_p]


@contextmanager
def mapped_frame(info: Any, height: int, width: int, write: bool = False) -> Iterator[Frame]:
    """The RGBA pixels of a buffer probe's `info`, height x width x 4 uint8, valid inside `with`.

    With `write` the array is the buffer that goes on downstream. `info.get_buffer()` must not
    have been called before.

    Raises:
        RuntimeError: the buffer cannot be mapped or is smaller than the frame.
    """
    probe = _ProbeInfo.from_address(hash(info))
    if write:
        probe.data = _gst.gst_mini_object_make_writable(probe.data)
    stride, offset = width * CHANNELS, 0
    meta = _video.gst_buffer_get_video_meta(probe.data)
    if meta:
        stride, offset = meta.contents.stride[0], meta.contents.offset[0]
    mapping = _MapInfo()
    flags = MAP_READ | (MAP_WRITE if write else 0)
    if not _gst.gst_buffer_map(probe.data, ctypes.byref(mapping), flags):
        raise RuntimeError("the frame's buffer cannot be mapped")
    try:
        needed = offset + stride * (height - 1) + width * CHANNELS
        if mapping.size < needed:
            raise RuntimeError(f"buffer of {mapping.size} bytes, expected {needed} for the frame")
        pixels = np.ctypeslib.as_array(mapping.data, shape=(mapping.size,))
        yield np.lib.stride_tricks.as_strided(
            pixels[offset:], (height, width, CHANNELS), (stride, CHANNELS, 1), writeable=write
        )
    finally:
        _gst.gst_buffer_unmap(probe.data, ctypes.byref(mapping))


def buffer_address(info: Any) -> int:
    """The address of a buffer probe's GstBuffer, without taking a reference."""
    return int(_ProbeInfo.from_address(hash(info)).data)


def data_address(buffer: int) -> int:
    """Where the data of a GstBuffer lies; of a buffer of NVIDIA's memory that is its NvBufSurface.

    Raises:
        RuntimeError: the buffer cannot be mapped.
    """
    mapping = _MapInfo()
    if not _gst.gst_buffer_map(buffer, ctypes.byref(mapping), MAP_READ):
        raise RuntimeError("the frame's buffer cannot be mapped")
    address = ctypes.cast(mapping.data, ctypes.c_void_p).value or 0
    _gst.gst_buffer_unmap(buffer, ctypes.byref(mapping))
    return address


def timestamp_ns(info: Any) -> int | None:
    """The buffer's presentation timestamp, without taking a reference; None where it has none."""
    pts = int(_Buffer.from_address(buffer_address(info)).pts)
    return None if pts == CLOCK_TIME_NONE else pts


def stream_time_ns(pad: Any, stamp: int | None) -> int | None:
    """The place of a buffer's timestamp in its stream, as a player counts it: from 0.

    Timestamps may begin anywhere: an MP4 of B-frames begins at two frames, an MPEG-TS anywhere;
    the pad's segment says where (gstsegment.c, gst_segment_to_stream_time at rate 1).
    """
    event = pad.get_sticky_event(Gst.EventType.SEGMENT, 0)
    if stamp is None or event is None:
        return stamp
    segment = event.parse_segment()
    if segment.format != Gst.Format.TIME or segment.time == CLOCK_TIME_NONE:
        return stamp
    return max(0, stamp - segment.start + segment.time)
