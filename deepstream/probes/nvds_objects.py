"""A polyp as NvDsObjectMeta, which nvdsosd, nvmsgconv and all of DeepStream read."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from xpnet.polyps import Polyp

COMPONENT_ID = 77
"""`unique_component_id` of our objects: that of no nvinfer or nvinferserver in the graph."""
UNTRACKED = 2**64 - 1
"""UNTRACKED_OBJECT_ID of nvdsmeta.h."""
UNKNOWN = -0.1
"""The confidence that nvdsmeta.h names for an object that has none."""
FONT_SIZE = 14


def attach_polyp(pyds: Any, batch: Any, frame_meta: Any, polyp: Polyp) -> None:
    """Adds a polyp to a frame's objects: box, mask, id, confidence, and the text beside it.

    `misc_obj_info[0]` holds the area in millionths of the frame. The mask is that of the contour
    within the box, one float a pixel, as nvmsgconv takes it.
    """
    pyds.nvds_acquire_meta_lock(batch)
    try:
        meta = pyds.nvds_acquire_obj_meta_from_pool(batch)
        meta.unique_component_id = COMPONENT_ID
        meta.class_id = 0
        meta.obj_label = "polyp"
        meta.object_id = UNTRACKED if polyp.id is None else polyp.id
        meta.confidence = UNKNOWN if polyp.probability is None else polyp.probability
        # pyds shows the four 64-bit fields as four 32-bit ones: these two are the first field.
        meta.misc_obj_info[0], meta.misc_obj_info[1] = round(polyp.area * 1e6), 0
        _place(meta, polyp)
        _write(meta.text_params, polyp)
        pyds.nvds_add_obj_meta_to_frame(frame_meta, meta, None)
    finally:
        pyds.nvds_release_meta_lock(batch)


def _place(meta: Any, polyp: Polyp) -> None:
    for box in (meta.rect_params, meta.detector_bbox_info.org_bbox_coords):
        box.left, box.top, box.width, box.height = map(float, polyp.box)
    meta.rect_params.border_width = 0
    meta.rect_params.has_bg_color = 0
    left, top, width, height = polyp.box
    mask = np.zeros((height, width), np.float32)
    cv2.fillPoly(mask, [polyp.contour], (1.0,), offset=(-left, -top))
    params = meta.mask_params
    params.width, params.height, params.threshold = width, height, 0.5
    params.alloc_mask_array()[:] = mask.ravel()


def _write(text: Any, polyp: Polyp) -> None:
    """The label, above the box where there is room."""
    name = "polyp" if polyp.id is None else f"polyp {polyp.id}"
    text.display_text = f"{name}  {100 * polyp.area:.1f} %"
    text.x_offset = polyp.box[0]
    text.y_offset = max(0, polyp.box[1] - 2 * FONT_SIZE)
    text.font_params.font_name = "Serif"
    text.font_params.font_size = FONT_SIZE
    text.font_params.font_color.set(1.0, 1.0, 1.0, 1.0)
    text.set_bg_clr = 1
    text.text_bg_clr.set(0.0, 0.0, 0.0, 0.6)
