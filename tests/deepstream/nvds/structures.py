"""NVIDIA's structures as ctypes, by the names that pyds gives them.

Fields and their order: includes/nvdsmeta.h, nvll_osd_struct.h, nvdsinfer.h and gstnvdsinfer.h of
github.com/NVIDIA/DeepStream. A field that pyds presents differently from C (lists, strings, arrays)
has a name with an underscore, and pyds's own name is a property.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np

glib = ctypes.CDLL("libglib-2.0.so.0")
glib.g_malloc0.restype, glib.g_malloc0.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
glib.g_free.restype, glib.g_free.argtypes = None, [ctypes.c_void_p]

i32, u32, i64, u64 = ctypes.c_int, ctypes.c_uint, ctypes.c_int64, ctypes.c_uint64
pointer, f32, f64 = ctypes.c_void_p, ctypes.c_float, ctypes.c_double


class Meta(ctypes.Structure):
    """Base with pyds's `cast`; unknown attributes cannot be set."""

    @classmethod
    def cast(cls, data: int) -> Any:
        return cls.from_address(data)

    def __setattr__(self, name: str, value: Any) -> None:
        if not hasattr(type(self), name):
            raise AttributeError(f"{type(self).__name__} has no {name}")
        super().__setattr__(name, value)


class _List(ctypes.Structure):
    _fields_ = [("data", pointer), ("next", pointer), ("prev", pointer)]


class GList:
    """A node of a GList, as pyds presents it."""

    def __init__(self, address: int) -> None:
        self._node = _List.from_address(address)

    @property
    def data(self) -> int:
        return int(self._node.data)

    @property
    def next(self) -> GList | None:
        return GList(self._node.next) if self._node.next else None


def _list(field: str) -> property:
    def get(self: Any) -> GList | None:
        address = getattr(self, field)
        return GList(address) if address else None

    return property(get)


def _string(field: str) -> property:
    """STRING_FREE_EXISTING of pyds: a copy that the structure owns."""

    def put(self: Any, text: str) -> None:
        raw = text.encode()
        if getattr(self, field):
            glib.g_free(getattr(self, field))
        address = glib.g_malloc0(len(raw) + 1)
        ctypes.memmove(address, raw, len(raw))
        setattr(self, field, address)

    return property(lambda self: getattr(self, field), put)


class NvDsBaseMeta(Meta):
    _fields_ = [
        ("_batch_meta", pointer), ("meta_type", i32), ("uContext", pointer),
        ("_copy_func", pointer), ("_release_func", pointer),
    ]  # fmt: skip


class MetaPool(ctypes.Structure):
    """NvDsMetaPool, which pyds does not expose; `element_size` is the library's own sizeof."""

    _fields_ = [
        ("meta_type", i32), ("max_elements", u32), ("element_size", u32), ("empty", u32),
        ("full", u32), ("empty_list", pointer), ("full_list", pointer),
        ("copy_func", pointer), ("release_func", pointer),
    ]  # fmt: skip


class NvDsBatchMeta(Meta):
    _fields_ = [
        ("base_meta", NvDsBaseMeta), ("max_frames_in_batch", u32), ("num_frames_in_batch", u32),
        ("_frame_meta_pool", pointer), ("_obj_meta_pool", pointer),
        ("_classifier_meta_pool", pointer), ("_display_meta_pool", pointer),
        ("_user_meta_pool", pointer), ("_label_info_meta_pool", pointer),
        ("_frame_meta_list", pointer), ("_batch_user_meta_list", pointer),
    ]  # fmt: skip
    frame_meta_list = _list("_frame_meta_list")
    batch_user_meta_list = _list("_batch_user_meta_list")


class _SensorInfo(ctypes.Structure):
    _fields_ = [("source_id", u32), ("uri", pointer), ("sensor_id", pointer), ("name", pointer)]


class NvDsFrameMeta(Meta):
    _fields_ = [
        ("base_meta", NvDsBaseMeta), ("pad_index", u32), ("batch_id", u32), ("frame_num", i32),
        ("buf_pts", u64), ("ntp_timestamp", u64), ("source_id", u32),
        ("num_surfaces_per_frame", i32), ("source_frame_width", u32),
        ("source_frame_height", u32), ("surface_type", u32), ("surface_index", u32),
        ("num_obj_meta", u32), ("bInferDone", i32), ("_obj_meta_list", pointer),
        ("_display_meta_list", pointer), ("_frame_user_meta_list", pointer),
        ("_misc_frame_info", i64 * 4), ("_pipeline_width", u32), ("_pipeline_height", u32),
        ("_sensor_info", _SensorInfo), ("_reserved", i64 * 4),
    ]  # fmt: skip
    obj_meta_list = _list("_obj_meta_list")
    frame_user_meta_list = _list("_frame_user_meta_list")


class NvDsUserMeta(Meta):
    _fields_ = [("base_meta", NvDsBaseMeta), ("user_meta_data", pointer)]


class NvBbox_Coords(Meta):
    _fields_ = [("left", f32), ("top", f32), ("width", f32), ("height", f32)]


class NvDsComp_BboxInfo(Meta):
    _fields_ = [("org_bbox_coords", NvBbox_Coords)]


class NvOSD_ColorParams(Meta):
    _fields_ = [("red", f64), ("green", f64), ("blue", f64), ("alpha", f64)]

    def set(self, red: float, green: float, blue: float, alpha: float) -> None:
        self.red, self.green, self.blue, self.alpha = red, green, blue, alpha


_FONTS: dict[str, ctypes.Array[ctypes.c_char]] = {}


class NvOSD_FontParams(Meta):
    _fields_ = [("_font_name", pointer), ("font_size", u32), ("font_color", NvOSD_ColorParams)]

    @property
    def font_name(self) -> str:
        return ctypes.string_at(self._font_name).decode()

    @font_name.setter
    def font_name(self, name: str) -> None:
        """pyds keeps each font's name forever: nothing frees it."""
        kept = _FONTS.setdefault(name, ctypes.create_string_buffer(name.encode()))
        self._font_name = ctypes.addressof(kept)


class NvOSD_TextParams(Meta):
    _fields_ = [
        ("_display_text", pointer), ("x_offset", u32), ("y_offset", u32),
        ("font_params", NvOSD_FontParams), ("set_bg_clr", i32),
        ("text_bg_clr", NvOSD_ColorParams),
    ]  # fmt: skip
    display_text = _string("_display_text")


class NvOSD_RectParams(Meta):
    _fields_ = [
        ("left", f32), ("top", f32), ("width", f32), ("height", f32), ("border_width", u32),
        ("border_color", NvOSD_ColorParams), ("has_bg_color", u32), ("_reserved", u32),
        ("bg_color", NvOSD_ColorParams), ("has_color_info", i32), ("color_id", i32),
        ("_rotation_angle", f32),
    ]  # fmt: skip


class NvOSD_MaskParams(Meta):
    _fields_ = [
        ("_data", pointer), ("size", u32), ("threshold", f32), ("width", u32), ("height", u32)
    ]  # fmt: skip

    def alloc_mask_array(self) -> np.ndarray:
        if self._data:
            glib.g_free(self._data)
        self.size = self.width * self.height * 4
        self._data = glib.g_malloc0(self.size)
        return self.get_mask_array()

    def get_mask_array(self) -> np.ndarray:
        values = ctypes.cast(self._data, ctypes.POINTER(f32))
        return np.ctypeslib.as_array(values, shape=(self.size // 4,))


class NvDsObjectMeta(Meta):
    _fields_ = [
        ("base_meta", NvDsBaseMeta), ("_parent", pointer), ("unique_component_id", i32),
        ("class_id", i32), ("object_id", u64), ("detector_bbox_info", NvDsComp_BboxInfo),
        ("tracker_bbox_info", NvDsComp_BboxInfo), ("confidence", f32),
        ("tracker_confidence", f32), ("rect_params", NvOSD_RectParams),
        ("mask_params", NvOSD_MaskParams), ("text_params", NvOSD_TextParams),
        ("_obj_label", ctypes.c_char * 128), ("_classifier_meta_list", pointer),
        ("_obj_user_meta_list", pointer), ("_misc_obj_info", i64 * 4), ("_reserved", i64 * 4),
    ]  # fmt: skip

    @property
    def obj_label(self) -> str:
        return self._obj_label.decode()

    @obj_label.setter
    def obj_label(self, text: str) -> None:
        self._obj_label = text.encode()

    @property
    def misc_obj_info(self) -> np.ndarray:
        """As in pyds: four 32-bit numbers at the address of four 64-bit ones."""
        address = ctypes.addressof(self) + type(self)._misc_obj_info.offset
        return np.ctypeslib.as_array(ctypes.cast(address, ctypes.POINTER(i32)), shape=(4,))


class NvDsInferSegmentationMeta(Meta):
    _fields_ = [
        ("classes", u32), ("width", u32), ("height", u32), ("class_map", pointer),
        ("class_probabilities_map", pointer), ("priv_data", pointer), ("_unique_id", i32),
    ]  # fmt: skip


class NvDsInferDims(Meta):
    _fields_ = [("numDims", u32), ("_d", u32 * 8), ("numElements", u32)]

    @property
    def d(self) -> np.ndarray:
        return np.ctypeslib.as_array(self._d)


class NvDsInferLayerInfo(Meta):
    _fields_ = [
        ("dataType", i32), ("inferDims", NvDsInferDims), ("bindingIndex", i32),
        ("_layerName", ctypes.c_char_p), ("buffer", pointer), ("isInput", i32),
    ]  # fmt: skip

    @property
    def layerName(self) -> str:
        return self._layerName.decode()


class _NetworkInfo(ctypes.Structure):
    _fields_ = [("width", u32), ("height", u32), ("channels", u32)]


class NvDsInferTensorMeta(Meta):
    _fields_ = [
        ("unique_id", u32), ("num_output_layers", u32), ("_output_layers_info", pointer),
        ("out_buf_ptrs_host", pointer), ("out_buf_ptrs_dev", pointer), ("gpu_id", i32),
        ("priv_data", pointer), ("network_info", _NetworkInfo), ("_maintain_aspect_ratio", i32),
        ("_symmetric_padding", i32),
    ]  # fmt: skip

    def output_layers_info(self, j: int) -> NvDsInferLayerInfo:
        size = ctypes.sizeof(NvDsInferLayerInfo)
        return NvDsInferLayerInfo.from_address(self._output_layers_info + j * size)
