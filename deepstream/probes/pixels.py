"""Access to the pixels of a buffer inside a pad probe, read or written in place.

PyGObject adds a reference to a probe's buffer, so mapping it for writing always fails. Mapping its
memory instead would also write into the other branch of a tee. Therefore the pointer is taken from
the GstPadProbeInfo: gst_mini_object_make_writable copies a shared buffer, leaves an unshared one
unchanged, and the probe passes the result on.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from deepstream.gstreamer import Gst
from deepstream.probes.video_frame import FrameFormat, PlaneFormat, VideoFrame

MAP_READ, MAP_WRITE = 1, 2
CLOCK_TIME_NONE = 2**64 - 1


class _MapInfo(ctypes.Structure):
    """GstMapInfo (gst/gstmemory.h)."""

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
    """First fields of GstPadProbeInfo (gst/gstpad.h)."""

    _fields_ = [
        ("type", ctypes.c_int),
        ("id", ctypes.c_ulong),
        ("data", ctypes.c_void_p),
    ]


class _Buffer(ctypes.Structure):
    """First fields of GstBuffer (gst/gstbuffer.h)."""

    _fields_ = [
        ("mini_object", ctypes.c_uint8 * 64),
        ("pool", ctypes.c_void_p),
        ("pts", ctypes.c_uint64),
        ("dts", ctypes.c_uint64),
        ("duration", ctypes.c_uint64),
    ]


class BufferTimes(NamedTuple):
    """Times of a buffer in nanoseconds."""

    pts_ns: int
    dts_ns: int
    duration_ns: int


class _VideoMeta(ctypes.Structure):
    """First fields of GstVideoMeta (gst/video/gstvideometa.h)."""

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
_gst.gst_mini_object_ref.restype = ctypes.c_void_p
_gst.gst_mini_object_ref.argtypes = [ctypes.c_void_p]
_gst.gst_mini_object_unref.argtypes = [ctypes.c_void_p]
_gst.gst_buffer_map.restype = ctypes.c_int
_gst.gst_buffer_map.argtypes = [ctypes.c_void_p, ctypes.POINTER(_MapInfo), ctypes.c_int]
_gst.gst_buffer_unmap.argtypes = [ctypes.c_void_p, ctypes.POINTER(_MapInfo)]
_video = ctypes.CDLL("libgstvideo-1.0.so.0")
_video.gst_buffer_get_video_meta.restype = ctypes.POINTER(_VideoMeta)
_video.gst_buffer_get_video_meta.argtypes = [ctypes.c_void_p]


@contextmanager
def mapped_frame(info: Any, form: FrameFormat, write: bool = False) -> Iterator[VideoFrame]:
    """Map the planes of a probe's buffer for the time of the `with` block.

    `info.get_buffer()` must not have been called before.

    Args:
        info: The Gst.PadProbeInfo.
        form: Format of the frames on the probe's pad.
        write: Whether the arrays are written to; the buffer that continues downstream changes.

    Yields:
        The frame.

    Raises:
        RuntimeError: The buffer cannot be mapped or is smaller than the frame.
    """
    probe = _ProbeInfo.from_address(hash(info))
    if write:
        probe.data = _gst.gst_mini_object_make_writable(probe.data)
    meta = _video.gst_buffer_get_video_meta(probe.data)
    mapping = _MapInfo()
    flags = MAP_READ | (MAP_WRITE if write else 0)
    if not _gst.gst_buffer_map(probe.data, ctypes.byref(mapping), flags):
        raise RuntimeError("the frame's buffer cannot be mapped")
    try:
        pixels = np.ctypeslib.as_array(mapping.data, shape=(mapping.size,))
        arrays = []
        for number, plane in enumerate(form.planes):
            offset, stride = plane.offset, plane.stride
            if meta:  # a decoder's own layout
                offset, stride = meta.contents.offset[number], meta.contents.stride[number]
            arrays.append(_plane_array(pixels, form, plane, offset, stride, write))
        yield VideoFrame(form, arrays)
    finally:
        _gst.gst_buffer_unmap(probe.data, ctypes.byref(mapping))


def _plane_array(
    pixels: NDArray[np.uint8],
    form: FrameFormat,
    plane: PlaneFormat,
    offset: int,
    stride: int,
    write: bool,
) -> NDArray[Any]:
    """Return one plane of a mapped buffer as an array. Raises RuntimeError if it is too small."""
    kind = np.dtype(np.uint8 if form.depth == 8 else np.uint16)
    channels = len(plane.components)
    needed = offset + stride * (plane.height - 1) + plane.width * channels * kind.itemsize
    if pixels.size < needed:
        raise RuntimeError(f"buffer of {pixels.size} bytes, expected {needed} for the frame")
    start = pixels[offset:]
    array: NDArray[Any] = np.ndarray(
        (plane.height, plane.width, channels),
        kind,
        start,
        strides=(stride, channels * kind.itemsize, kind.itemsize),
    )
    array.flags.writeable = write
    return array[:, :, 0] if channels == 1 else array


def buffer_address(info: Any) -> int:
    """Return the address of a probe's GstBuffer without taking a reference."""
    return int(_ProbeInfo.from_address(hash(info)).data)


def data_address(buffer: int) -> int:
    """Return the address of a GstBuffer's data; in NVIDIA's memory that is its NvBufSurface.

    Args:
        buffer: Address of the GstBuffer.

    Raises:
        RuntimeError: The buffer cannot be mapped.
    """
    mapping = _MapInfo()
    if not _gst.gst_buffer_map(buffer, ctypes.byref(mapping), MAP_READ):
        raise RuntimeError("the frame's buffer cannot be mapped")
    address = ctypes.cast(mapping.data, ctypes.c_void_p).value or 0
    _gst.gst_buffer_unmap(buffer, ctypes.byref(mapping))
    return address


def replace_event(info: Any, event: Any) -> None:
    """Let a probe pass another event in the place of its own.

    Args:
        info: The Gst.PadProbeInfo of an event probe.
        event: The Gst.Event that continues.
    """
    probe = _ProbeInfo.from_address(hash(info))
    replaced, probe.data = probe.data, _gst.gst_mini_object_ref(hash(event))
    _gst.gst_mini_object_unref(replaced)


def timestamp_ns(info: Any) -> int | None:
    """Return the presentation timestamp of a probe's buffer, or None if it has none."""
    pts = int(_Buffer.from_address(buffer_address(info)).pts)
    return None if pts == CLOCK_TIME_NONE else pts


def set_timestamp_ns(info: Any, stamp: int) -> None:
    """Set the presentation timestamp of a probe's buffer; a shared buffer is copied first.

    `info.get_buffer()` must not have been called before.

    Args:
        info: The Gst.PadProbeInfo.
        stamp: Timestamp in nanoseconds.
    """
    _writable(info).pts = stamp


def set_duration_ns(info: Any, duration: int) -> None:
    """Set the duration of a probe's buffer, as `set_timestamp_ns`.

    Args:
        info: The Gst.PadProbeInfo.
        duration: Duration in nanoseconds.
    """
    _writable(info).duration = duration


def buffer_times(info: Any) -> BufferTimes | None:
    """Return the times of a probe's buffer, or None if it lacks one of them."""
    buffer = _Buffer.from_address(buffer_address(info))
    times = BufferTimes(int(buffer.pts), int(buffer.dts), int(buffer.duration))
    return None if CLOCK_TIME_NONE in times else times


def _writable(info: Any) -> _Buffer:
    probe = _ProbeInfo.from_address(hash(info))
    probe.data = _gst.gst_mini_object_make_writable(probe.data)
    return _Buffer.from_address(probe.data)


def running_time_ns(pad: Any, stamp: int) -> int:
    """Convert a timestamp to running time, which never starts again.

    Args:
        pad: A pad of the stream.
        stamp: Timestamp in nanoseconds.
    """
    event = pad.get_sticky_event(Gst.EventType.SEGMENT, 0)
    if event is None:
        return stamp
    segment = event.parse_segment()
    if segment.format != Gst.Format.TIME:
        return stamp
    return int(stamp - segment.start + segment.base)


def stream_time_ns(pad: Any, stamp: int | None) -> int | None:
    """Convert a timestamp to stream time, which starts at 0 as in a player.

    Timestamps may start anywhere: at two frames in an MP4 with B-frames, anywhere in an MPEG-TS.
    The pad's segment contains the start (gstsegment.c, gst_segment_to_stream_time at rate 1).

    Args:
        pad: A pad of the stream.
        stamp: Timestamp in nanoseconds, or None.
    """
    event = pad.get_sticky_event(Gst.EventType.SEGMENT, 0)
    if stamp is None or event is None:
        return stamp
    segment = event.parse_segment()
    if segment.format != Gst.Format.TIME or segment.time == CLOCK_TIME_NONE:
        return stamp
    return max(0, stamp - segment.start + segment.time)
