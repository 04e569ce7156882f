"""The part of pyds that the probe uses, over the real metadata libraries.

Behaviour: bindings/src of github.com/NVIDIA-AI-IOT/deepstream_python_apps.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np

from deepstream.probes.pixels import MAP_READ, _gst, _MapInfo
from tests.deepstream.nvds import libraries
from tests.deepstream.nvds.structures import (
    NvBbox_Coords,
    NvDsBaseMeta,
    NvDsBatchMeta,
    NvDsComp_BboxInfo,
    NvDsFrameMeta,
    NvDsInferDims,
    NvDsInferLayerInfo,
    NvDsInferSegmentationMeta,
    NvDsInferTensorMeta,
    NvDsObjectMeta,
    NvDsUserMeta,
    NvOSD_ColorParams,
    NvOSD_FontParams,
    NvOSD_MaskParams,
    NvOSD_RectParams,
    NvOSD_TextParams,
)

meta_library, gst_library = libraries.load()

NVDSINFER_TENSOR_OUTPUT_META = 12  # nvdsmeta.h, counted from NVDS_BATCH_META = 1
NVDSINFER_SEGMENTATION_META = 13


class NvDsInferDataType:
    """nvdsinfer.h."""

    FLOAT, HALF, INT8, INT32 = range(4)


surface_size = (0, 0)
"""Height and width of the surfaces: a test's buffers contain a batch of them, one after the other,
as RGBA in system memory."""
surface_pitch = 0
"""Bytes from row to row of a surface."""
unmapped: list[int] = []
"""Batch ids of the surfaces that were unmapped."""
synced: list[tuple[int, int]] = []
"""Address and batch id of the surfaces that were synchronised while mapped."""


def pitch_of(width: int) -> int:
    """Return the pitch of NVIDIA's allocator, a multiple of 256 bytes, with a gap between rows."""
    return (4 * width // 256 + 1) * 256


def gst_buffer_get_nvds_batch_meta(buffer: int) -> NvDsBatchMeta | None:
    address = gst_library.gst_buffer_get_nvds_batch_meta(buffer)
    return NvDsBatchMeta.from_address(address) if address else None


def get_nvds_buf_surface(gst_buffer: int, batchID: int) -> np.ndarray:
    """Return the buffer's pixels, in place; like pyds it maps for reading and unmaps at once."""
    height, width = surface_size
    mapping = _MapInfo()
    assert _gst.gst_buffer_map(gst_buffer, ctypes.byref(mapping), MAP_READ)
    pixels = np.ctypeslib.as_array(mapping.data, shape=(mapping.size,))
    _gst.gst_buffer_unmap(gst_buffer, ctypes.byref(mapping))
    surface = pixels[batchID * height * surface_pitch :]
    return np.lib.stride_tricks.as_strided(surface, (height, width, 4), (surface_pitch, 4, 1))


def unmap_nvds_buf_surface(gst_buffer: int, batchID: int) -> None:
    unmapped.append(batchID)


class NvBufSurface:
    """The content of a buffer in NVIDIA's memory: here the pixels themselves."""

    def __init__(self) -> None:
        self._address = 0

    @staticmethod
    def cast(data: int) -> NvBufSurface:
        surface = NvBufSurface()
        surface._address = data
        return surface


def NvBufSurfaceSyncForDevice(surf: NvBufSurface, index: int, plane: int) -> int:
    assert (plane, index in unmapped) == (-1, False)
    synced.append((surf._address, index))
    return 0


def get_segmentation_masks(data: NvDsInferSegmentationMeta) -> np.ndarray:
    values = ctypes.cast(data.class_map, ctypes.POINTER(ctypes.c_int))
    return np.ctypeslib.as_array(values, shape=(data.height, data.width)).copy()


def get_ptr(ptr: Any) -> int:
    return int(ptr)


def get_string(ptr: int) -> str:
    return ctypes.string_at(ptr).decode()


def nvds_acquire_meta_lock(batch_meta: NvDsBatchMeta) -> None:
    meta_library.nvds_acquire_meta_lock(ctypes.addressof(batch_meta))


def nvds_release_meta_lock(batch_meta: NvDsBatchMeta) -> None:
    meta_library.nvds_release_meta_lock(ctypes.addressof(batch_meta))


def nvds_acquire_obj_meta_from_pool(batch_meta: NvDsBatchMeta) -> NvDsObjectMeta:
    address = meta_library.nvds_acquire_obj_meta_from_pool(ctypes.addressof(batch_meta))
    return NvDsObjectMeta.from_address(address)


def nvds_remove_user_meta_from_frame(frame_meta: NvDsFrameMeta, user_meta: NvDsUserMeta) -> None:
    meta_library.nvds_remove_user_meta_from_frame(
        ctypes.addressof(frame_meta), ctypes.addressof(user_meta)
    )


def nvds_add_obj_meta_to_frame(
    frame_meta: NvDsFrameMeta, obj_meta: NvDsObjectMeta, obj_parent: NvDsObjectMeta | None
) -> None:
    parent = None if obj_parent is None else ctypes.addressof(obj_parent)
    meta_library.nvds_add_obj_meta_to_frame(
        ctypes.addressof(frame_meta), ctypes.addressof(obj_meta), parent
    )


__all__ = [
    "NVDSINFER_SEGMENTATION_META",
    "NVDSINFER_TENSOR_OUTPUT_META",
    "NvBbox_Coords",
    "NvBufSurface",
    "NvBufSurfaceSyncForDevice",
    "NvDsBaseMeta",
    "NvDsBatchMeta",
    "NvDsComp_BboxInfo",
    "NvDsFrameMeta",
    "NvDsInferDataType",
    "NvDsInferDims",
    "NvDsInferLayerInfo",
    "NvDsInferSegmentationMeta",
    "NvDsInferTensorMeta",
    "NvDsObjectMeta",
    "NvDsUserMeta",
    "NvOSD_ColorParams",
    "NvOSD_FontParams",
    "NvOSD_MaskParams",
    "NvOSD_RectParams",
    "NvOSD_TextParams",
    "get_nvds_buf_surface",
    "get_ptr",
    "get_segmentation_masks",
    "get_string",
    "gst_buffer_get_nvds_batch_meta",
    "nvds_acquire_meta_lock",
    "nvds_acquire_obj_meta_from_pool",
    "nvds_add_obj_meta_to_frame",
    "nvds_release_meta_lock",
    "nvds_remove_user_meta_from_frame",
    "unmap_nvds_buf_surface",
]
