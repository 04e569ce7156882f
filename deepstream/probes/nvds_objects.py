"""Attaches polyps as NvDsObjectMeta, which nvdsosd, nvmsgconv and other elements read."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from xpnet.polyps import Polyp

COMPONENT_ID = 77
"""`unique_component_id` of our objects; no other element of the graph uses it."""
UNTRACKED = 2**64 - 1
"""UNTRACKED_OBJECT_ID of nvdsmeta.h."""
UNKNOWN_CONFIDENCE = -0.1
"""Confidence of an object without one (nvdsmeta.h)."""
FONT_SIZE = 14


def attach_polyp(pyds: Any, batch: Any, frame_meta: Any, polyp: Polyp) -> None:
    """Add a polyp to a frame's objects: box, mask, id, confidence and text.

    `misc_obj_info[0]` holds the area in millionths of the frame. The mask covers the box, one float
    for each pixel, as nvmsgconv reads it.

    Args:
        pyds: The module.
        batch: The NvDsBatchMeta.
        frame_meta: The NvDsFrameMeta of the frame.
        polyp: What to attach.
    """
    pyds.nvds_acquire_meta_lock(batch)
    try:
        meta = pyds.nvds_acquire_obj_meta_from_pool(batch)
        meta.unique_component_id = COMPONENT_ID
        meta.class_id = 0
        meta.obj_label = "polyp"
        meta.object_id = UNTRACKED if polyp.id is None else polyp.id
        meta.confidence = UNKNOWN_CONFIDENCE if polyp.probability is None else polyp.probability
        # pyds exposes the four 64-bit fields as 32-bit values: these two are the first field.
        meta.misc_obj_info[0], meta.misc_obj_info[1] = round(polyp.area * 1e6), 0
        _set_geometry(meta, polyp)
        _set_text(meta.text_params, polyp)
        pyds.nvds_add_obj_meta_to_frame(frame_meta, meta, None)
    finally:
        pyds.nvds_release_meta_lock(batch)


def polyp_text(polyp: Polyp) -> str:
    """Return the text beside a polyp: its id and its share of the frame."""
    name = "polyp" if polyp.id is None else f"polyp {polyp.id}"
    return f"{name}  {100 * polyp.area:.1f} %"


def text_place(polyp: Polyp) -> tuple[int, int]:
    """Return x and y of the text: above the box unless the box touches the top of the frame."""
    return polyp.box[0], max(0, polyp.box[1] - 2 * FONT_SIZE)


def _set_geometry(meta: Any, polyp: Polyp) -> None:
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


def _set_text(text: Any, polyp: Polyp) -> None:
    text.display_text = polyp_text(polyp)
    text.x_offset, text.y_offset = text_place(polyp)
    text.font_params.font_name = "Serif"
    text.font_params.font_size = FONT_SIZE
    text.font_params.font_color.set(1.0, 1.0, 1.0, 1.0)
    text.set_bg_clr = 1
    text.text_bg_clr.set(0.0, 0.0, 0.0, 0.6)
