"""Buffers as nvinferserver leaves them: pixels, a batch meta, and a result on each frame.

What is attached, and how it is freed: attachSegmentationMetadata and attachTensorOutputMeta of
gst-nvinferserver/gstnvinferserver_meta_utils.cpp (github.com/NVIDIA/DeepStream).
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import numpy as np

from deepstream.gstreamer import Gst
from tests.deepstream.nvds import pyds
from tests.deepstream.nvds.structures import (
    NvDsBatchMeta,
    NvDsFrameMeta,
    NvDsInferLayerInfo,
    NvDsInferSegmentationMeta,
    NvDsInferTensorMeta,
    NvDsUserMeta,
    glib,
)

NVDS_BATCH_GST_META = 4096 + 1  # gstnvdsmeta.h
OUTPUT = ctypes.create_string_buffer(b"probabilities")
GAP = 171
"""Bytes between the rows of a surface, which must not be written."""
released = 0
"""Number of results, copies included, that were released."""
made = 0
"""Number of results that were made."""


class _GstNvDsMeta(ctypes.Structure):
    """NvDsMeta of gstnvdsmeta.h, behind GstMeta's flags and info."""

    _fields_ = [
        ("flags", ctypes.c_int), ("info", ctypes.c_void_p), ("meta_data", ctypes.c_void_p),
        ("user_data", ctypes.c_void_p), ("meta_type", ctypes.c_int),
    ]  # fmt: skip


def _memdup(values: np.ndarray) -> int:
    address = glib.g_malloc0(values.nbytes)
    ctypes.memmove(address, values.ctypes.data, values.nbytes)
    return int(address)


@ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p)
def _release_segmentation(data: int, _user_data: int) -> None:
    global released
    meta = NvDsInferSegmentationMeta.from_address(NvDsUserMeta.from_address(data).user_meta_data)
    glib.g_free(meta.class_map)
    glib.g_free(ctypes.addressof(meta))
    released += 1


@ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p)
def _release_tensor(data: int, _user_data: int) -> None:
    global released
    meta = NvDsInferTensorMeta.from_address(NvDsUserMeta.from_address(data).user_meta_data)
    glib.g_free(meta.output_layers_info(0).buffer)
    glib.g_free(meta._output_layers_info)
    glib.g_free(ctypes.addressof(meta))
    released += 1


@ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)
def _copy_segmentation(data: int, _user_data: int) -> int:
    meta = NvDsInferSegmentationMeta.from_address(NvDsUserMeta.from_address(data).user_meta_data)
    return segmentation(pyds.get_segmentation_masks(meta), meta.classes)[1]


@ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)
def _copy_tensor(data: int, _user_data: int) -> int:
    meta = NvDsInferTensorMeta.from_address(NvDsUserMeta.from_address(data).user_meta_data)
    layer = meta.output_layers_info(0)
    values = ctypes.cast(layer.buffer, ctypes.POINTER(ctypes.c_float))
    return tensor(np.ctypeslib.as_array(values, shape=tuple(layer.inferDims.d[1:3])))[1]


COPY = {
    pyds.NVDSINFER_SEGMENTATION_META: _copy_segmentation,
    pyds.NVDSINFER_TENSOR_OUTPUT_META: _copy_tensor,
}


def segmentation(class_map: np.ndarray, classes: int = 1) -> tuple[int, int, Any]:
    """Return an NvDsInferSegmentationMeta of a height x width int32 class map, in glib's memory."""
    global made
    made += 1
    meta = NvDsInferSegmentationMeta.from_address(
        glib.g_malloc0(ctypes.sizeof(NvDsInferSegmentationMeta))
    )
    meta.classes, meta.height, meta.width = classes, *class_map.shape
    meta.class_map = _memdup(np.ascontiguousarray(class_map, np.int32))
    return pyds.NVDSINFER_SEGMENTATION_META, ctypes.addressof(meta), _release_segmentation


def tensor(probabilities: np.ndarray) -> tuple[int, int, Any]:
    """Return an NvDsInferTensorMeta of a probability map, height x width float32."""
    global made
    made += 1
    meta = NvDsInferTensorMeta.from_address(glib.g_malloc0(ctypes.sizeof(NvDsInferTensorMeta)))
    meta.num_output_layers = 1
    meta._output_layers_info = glib.g_malloc0(ctypes.sizeof(NvDsInferLayerInfo))
    layer = meta.output_layers_info(0)
    layer._layerName = ctypes.cast(OUTPUT, ctypes.c_char_p)
    layer.inferDims.numDims = 3
    layer.inferDims.d[:3] = (1, *probabilities.shape)
    layer.buffer = _memdup(np.ascontiguousarray(probabilities, np.float32))
    return pyds.NVDSINFER_TENSOR_OUTPUT_META, ctypes.addressof(meta), _release_tensor


def batched(
    frames: np.ndarray, results: Sequence[tuple[int, int, Any] | None], start_ns: int = 0
) -> Any:
    """Return a GstBuffer of N x height x width x 4 with NVIDIA's metadata, one result a frame."""
    number, height, width, channels = frames.shape
    padded = np.full((number, height, pyds.pitch_of(width)), GAP, np.uint8)
    padded[:, :, : width * channels] = frames.reshape(number, height, -1)
    buffer = Gst.Buffer.new_wrapped(padded.tobytes())
    buffer.pts = start_ns
    attach(hash(buffer), results, start_ns)
    return buffer


def attach(buffer: int, results: Sequence[tuple[int, int, Any] | None], start_ns: int = 0) -> None:
    """Attach a batch meta to the GstBuffer at an address, with one frame for each result."""
    library = pyds.meta_library
    batch_address = library.nvds_create_batch_meta(len(results))
    batch = NvDsBatchMeta.from_address(batch_address)
    batch.max_frames_in_batch = len(results)  # it is 0 by default, and copying then crashes
    for number, result in enumerate(results):
        frame_address = library.nvds_acquire_frame_meta_from_pool(batch_address)
        frame = NvDsFrameMeta.from_address(frame_address)
        frame.batch_id, frame.frame_num, frame.pad_index = number, number, number
        frame.buf_pts = start_ns + number * 40_000_000
        library.nvds_add_frame_meta_to_batch(batch_address, frame_address)
        if result is not None:
            user_address = library.nvds_acquire_user_meta_from_pool(batch_address)
            user = NvDsUserMeta.from_address(user_address)
            user.base_meta.meta_type, user.user_meta_data, release = result
            user.base_meta._release_func = ctypes.cast(release, ctypes.c_void_p).value
            copy = COPY[user.base_meta.meta_type]
            user.base_meta._copy_func = ctypes.cast(copy, ctypes.c_void_p).value
            library.nvds_add_user_meta_to_frame(frame_address, user_address)
    meta = pyds.gst_library.gst_buffer_add_nvds_meta(
        buffer, batch_address, None,
        ctypes.cast(library.nvds_batch_meta_copy_func, ctypes.c_void_p),
        ctypes.cast(library.nvds_batch_meta_release_func, ctypes.c_void_p),
    )  # fmt: skip
    _GstNvDsMeta.from_address(meta).meta_type = NVDS_BATCH_GST_META
