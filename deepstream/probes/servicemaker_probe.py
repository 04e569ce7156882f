"""The probe on pyservicemaker, NVIDIA's successor of pyds, for pipelines of your own.

It reads nvinferserver's class map, tracks polyps, attaches them as objects, and lets nvdsosd draw
their contours as lines. `batch_operator` makes the operator that pyservicemaker's Probe takes.

In contrast to the pyds probe it neither draws pixels nor reads tensors, because the bindings
(service-maker/sources/python/src/bindings of DeepStream 9.2) do not offer what is needed:

    tensor.h    __dlpack_device__ of a Tensor is a CUDA device also for host memory, so numpy takes
                neither the pixels of Buffer.extract nor a layer of get_layers
    metadata.h  no user metadata can be removed from a frame, so that output tensors would stay
                attached, and nvinferserver would wait for a free one
    osd.h       Mask.mask_array stores the address of a numpy array without a reference to it, so
                objects have no mask; misc_obj_info is missing, so they have no area

Class maps have no probabilities, so the card's peak cannot be applied.

`psm` is an argument, so that tests can run this code without DeepStream.
"""

from __future__ import annotations

import time
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from deepstream.probes.base import Probes
from deepstream.probes.class_masks import (
    CLASS_MAP_THRESHOLD,
    NewestMasks,
    check_output,
    polyp_map,
)
from deepstream.probes.nvds_objects import (
    COMPONENT_ID,
    FONT_SIZE,
    UNKNOWN_CONFIDENCE,
    UNTRACKED,
    polyp_text,
    text_place,
)
from deepstream.probes.pixels import CLOCK_TIME_NONE
from deepstream.probes.polyp_results import PolypResults
from xpnet.card import Card
from xpnet.frames import Segmentation, probabilities_to_mask
from xpnet.inference import InferenceError
from xpnet.overlay import contour_thickness
from xpnet.polyps import Polyp
from xpnet.signs import ASSISTANT, NOT_AVAILABLE, SWITCHED_OFF, sign_position

MAX_LINES = 16
"""Lines of one DisplayMetadata, MAX_ELEMENTS_IN_DISPLAY_META of nvdsmeta.h."""
MAX_POINTS = 4 * MAX_LINES
"""Points of a drawn contour."""


class ServiceMakerProbes(Probes):
    """Handles the metadata of a batch; each frame is read, drawn and reported separately.

    Attributes:
        card: Card of the model that nvinferserver runs.
        psm: The module pyservicemaker.

    Args:
        interval: Frames that nvinferserver skips after each frame; they show the mask of that
            frame.
    """

    def __init__(self, *args: Any, card: Card, psm: Any, interval: int = 0, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.card, self.psm = card, psm
        self._masks = NewestMasks(interval, self.statistics, self.max_mask_age_s)
        if self.results is None:
            self.results = PolypResults()  # objects and text need them

    def handle_metadata(self, batch: Any) -> None:
        """Handle a batch; no exception leaves it, since it would end the process.

        Args:
            batch: The BatchMetadata.
        """
        try:
            for frame in batch.frame_items:
                try:
                    self._frame(batch, frame)
                except Exception as error:
                    self.report_failure(None, "handle_metadata", error)
        except Exception as error:
            self.report_failure(None, "handle_metadata", error)

    def _frame(self, batch: Any, frame: Any) -> None:
        entered = time.monotonic()
        stamp = None if frame.buffer_pts == CLOCK_TIME_NONE else frame.buffer_pts
        segmentation = None
        try:
            with self.count_failures():
                segmentation = self._masks.of_frame(
                    frame.pad_index, stamp, lambda: self._segment(frame, stamp)
                )
                self.statistics.frames_with_polyp += segmentation.has_polyp
                if self.on_mask is not None:
                    self.on_mask(segmentation)
        finally:
            now = time.monotonic()
            self.statistics.frame_drawn(now, stamp)
            self.statistics.latency_s.append(now - entered)  # of the probe only
            assert self.results is not None
            polyps = self.results.frame(segmentation, stamp, stamp)
        shown = self.controls.appearance
        for polyp in polyps or ():
            self._attach(batch, frame, polyp)
            if shown.enabled:
                self._draw(batch, frame, polyp)
        notice = NOT_AVAILABLE if segmentation is None else "" if shown.enabled else SWITCHED_OFF
        self.statistics.assistant = ASSISTANT.get(notice, "ready")
        if notice and shown.signs:
            top, left = sign_position((self.height, self.width))
            display = batch.acquire_display_meta()
            display.add_text(self._text(notice, left, top))
            frame.append(display)

    def _segment(self, frame: Any, stamp: int | None) -> Segmentation:
        """Return the frame's mask. Raises InferenceError if nvinferserver attached none."""
        for item in frame.segmentation_items:
            meta = item.as_segmentation()
            check_output((meta.classes, meta.height, meta.width), self.card)
            found = polyp_map(np.asarray(meta.class_map))
            mask = probabilities_to_mask(
                self.steady(frame.pad_index, found, stamp, CLASS_MAP_THRESHOLD),
                self.height,
                self.width,
                CLASS_MAP_THRESHOLD,
            )
            return Segmentation(mask, stamp, None)
        raise InferenceError("nvinferserver attached no mask to the frame")

    def _attach(self, batch: Any, frame: Any, polyp: Polyp) -> None:
        """Add a polyp to the frame's objects: box, id, confidence and label."""
        meta = batch.acquire_object_meta()
        meta.unique_component_id = COMPONENT_ID
        meta.class_id = 0
        meta.label = "polyp"
        meta.object_id = UNTRACKED if polyp.id is None else polyp.id
        meta.confidence = UNKNOWN_CONFIDENCE
        left, top, width, height = map(float, polyp.box)
        rect = meta.rect_params
        rect.left, rect.top, rect.width, rect.height = left, top, width, height
        rect.border_width = 0
        rect.has_bg_color = 0
        meta.nv_bbox_info = {"left": left, "top": top, "width": width, "height": height}
        frame.append(meta)

    def _draw(self, batch: Any, frame: Any, polyp: Polyp) -> None:
        """Let nvdsosd draw a polyp's contour, as lines, and its text."""
        osd = self.psm.osd
        red, green, blue = (value / 255 for value in self.controls.appearance.style.colour)
        colour = osd.Color(red, green, blue, 1.0)
        points = simplified(polyp.contour, MAX_POINTS)
        ends = np.roll(points, -1, axis=0)
        for first in range(0, len(points), MAX_LINES):
            display = batch.acquire_display_meta()
            if first == 0:
                display.add_text(self._text(polyp_text(polyp), *text_place(polyp)))
            part = slice(first, first + MAX_LINES)
            for (x1, y1), (x2, y2) in zip(points[part].tolist(), ends[part].tolist(), strict=True):
                line = osd.Line()
                line.x1, line.y1, line.x2, line.y2 = x1, y1, x2, y2
                line.width = contour_thickness(self.height)
                line.color = colour
                display.add_line(line)
            frame.append(display)

    def _text(self, words: str, left: int, top: int) -> Any:
        osd = self.psm.osd
        text = osd.Text()
        text.display_text = words
        text.x_offset, text.y_offset = left, top
        text.font.name = osd.FontFamily.Serif
        text.font.size = FONT_SIZE
        text.font.color = osd.Color(1.0, 1.0, 1.0, 1.0)
        text.set_bg_color = 1
        text.bg_color = osd.Color(0.0, 0.0, 0.0, 0.6)
        return text


def simplified(contour: NDArray[np.int32], most: int) -> NDArray[np.int32]:
    """Return a contour with a limited number of points, as close to it as that allows.

    Args:
        contour: K x 2 points.
        most: Largest number of points.
    """
    tolerance = 0.5
    points = contour
    while len(points) > most:
        found = cv2.approxPolyDP(contour, tolerance, True)
        points = np.asarray(found, dtype=np.int32).reshape(-1, 2)
        tolerance *= 1.5
    return points


def batch_operator(psm: Any, probes: ServiceMakerProbes) -> Any:
    """Return an operator for `pyservicemaker.Probe(NAME, OPERATOR)`.

    Args:
        psm: The module pyservicemaker.
        probes: What handles the metadata.
    """

    class PolypOperator(psm.BatchMetadataOperator):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()  # pybind11 requires it of a Python class

        def handle_metadata(self, metadata: Any) -> None:
            probes.handle_metadata(metadata)

    return PolypOperator()
