"""The probe on DeepStream: reads nvinferserver's result, draws the mask, attaches polyps.

It is attached before nvdsosd, to buffers in NVIDIA's memory that carry an NvDsBatchMeta. The use
of pyds follows NVIDIA's deepstream_python_apps (bindings/src). `pyds` is an argument, so that tests
can run this code on real metadata without a GPU.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from deepstream.probes.base import Probes
from deepstream.probes.class_masks import (
    CLASS_MAP_THRESHOLD,
    NewestMasks,
    check_output,
    polyp_map,
)
from deepstream.probes.nvds_objects import attach_polyp
from deepstream.probes.pixels import CLOCK_TIME_NONE, buffer_address, data_address, stream_time_ns
from deepstream.probes.polyp_results import PolypResults
from xpnet.card import Card
from xpnet.frames import (
    Frame,
    ProbabilityMap,
    Segmentation,
    probabilities_to_mask,
    without_weak_areas,
)
from xpnet.inference import InferenceError, check_probabilities
from xpnet.overlay import Plane, draw_mask
from xpnet.scope_region import AUTO
from xpnet.signs import (
    ASSISTANT,
    NO_SIGNAL,
    NOT_AVAILABLE,
    SWITCHED_OFF,
    PlanesOf,
    draw_corner_marks,
    draw_notice,
    draw_ready,
)

ALL_PLANES = -1
"""Plane number for all planes of a surface (nvbufsurface.h)."""
REGION_FRAMES, REGION_STEP = 5, 4
"""The scope's picture is looked for in every fifth frame, in every fourth pixel of both directions:
the CPU reads these pixels from the GPU's memory."""


class NvdsProbes(Probes):
    """One probe for a batch; each of its frames is read, drawn and reported separately.

    Attributes:
        card: Card of the model that nvinferserver runs.
        pyds: The module.
        probabilities: True to read the network's probabilities (NvDsInferTensorMeta, with
            `output_tensor_meta` in nvinferserver's config) and apply the card's threshold and peak;
            False to read nvinferserver's class map (NvDsInferSegmentationMeta), to which a peak
            cannot be applied.
        jetson: Whether surfaces must be mapped and unmapped.

    Args:
        interval: Frames that nvinferserver skips after each frame; they show the mask of that
            frame (mode `latest`).
    """

    def __init__(
        self,
        *args: Any,
        card: Card,
        pyds: Any,
        probabilities: bool = False,
        jetson: bool = False,
        interval: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.card, self.pyds = card, pyds
        self.probabilities, self.jetson = probabilities, jetson
        self._looked_at = 0  # frames since the scope's picture was looked for
        self._masks = NewestMasks(interval, self.statistics, self.max_mask_age_s)
        if self.results is None:
            self.results = PolypResults()  # nvdsosd's text needs them

    def frame_leaves(self, pad: Any, info: Any) -> None:
        """Handle a batch; an exception in one frame does not affect the others."""
        buffer = buffer_address(info)
        batch = self.pyds.gst_buffer_get_nvds_batch_meta(buffer)
        if batch is None:
            raise RuntimeError(
                "the buffer has no NvDsBatchMeta: expected nvstreammux before the probe"
            )
        for frame_meta in iterate_meta(batch.frame_meta_list, self.pyds.NvDsFrameMeta):
            try:
                self._frame(pad, buffer, batch, frame_meta)
            except Exception as error:
                self.report_failure(pad, "frame_leaves", error)

    def _frame(self, pad: Any, buffer: int, batch: Any, frame_meta: Any) -> None:
        entered = time.monotonic()
        stamp = None if frame_meta.buf_pts == CLOCK_TIME_NONE else frame_meta.buf_pts
        segmentation, lost = None, self.statistics.source_lost
        try:
            with self.count_failures():
                self._look_for_region(buffer, frame_meta.batch_id)
                found = self._masks.of_frame(
                    frame_meta.pad_index, stamp, lambda: self._segment(frame_meta, stamp)
                )
                if lost:
                    self.statistics.frames_without_mask += 1
                else:
                    segmentation = found
                    self._draw(buffer, frame_meta.batch_id, segmentation, stamp)
        finally:
            if segmentation is None:
                reason = NO_SIGNAL if lost else NOT_AVAILABLE
                self._draw_notice(buffer, frame_meta.batch_id, reason)
            self._mark_region(buffer, frame_meta.batch_id)
            now = time.monotonic()
            self.statistics.frame_drawn(now, stamp)
            self.statistics.latency_s.append(now - entered)  # of the probe only
            assert self.results is not None
            polyps = self.results.frame(segmentation, stamp, stream_time_ns(pad, stamp))
        for polyp in polyps or ():
            attach_polyp(self.pyds, batch, frame_meta, polyp)

    def _segment(self, frame_meta: Any, stamp: int | None) -> Segmentation:
        """Return the frame's mask. Raises InferenceError if nvinferserver attached no result."""
        wanted = (
            self.pyds.NVDSINFER_TENSOR_OUTPUT_META
            if self.probabilities
            else self.pyds.NVDSINFER_SEGMENTATION_META
        )
        for user_meta in iterate_meta(frame_meta.frame_user_meta_list, self.pyds.NvDsUserMeta):
            if user_meta.base_meta.meta_type == wanted:
                if self.probabilities:
                    probabilities = self._release_tensor(frame_meta, user_meta)
                    chosen = self.controls.appearance.threshold
                    threshold = self.card.threshold if chosen is None else chosen
                    # Before steadying: smoothing lowers peaks.
                    probabilities = without_weak_areas(probabilities, threshold, self.card.peak)
                else:
                    probabilities, threshold = (
                        self._class_map(user_meta.user_meta_data),
                        CLASS_MAP_THRESHOLD,
                    )
                probabilities = self.steady(frame_meta.pad_index, probabilities, stamp, threshold)
                mask = probabilities_to_mask(probabilities, self.height, self.width, threshold)
                return Segmentation(mask, stamp, probabilities if self.probabilities else None)
        kind = "tensor (is output_tensor_meta on?)" if self.probabilities else "mask"
        raise InferenceError(f"nvinferserver attached no {kind} to the frame")

    def _class_map(self, data: Any) -> ProbabilityMap:
        """Return the classes of NvDsInferSegmentationMeta as a copied map of 0 and 1."""
        meta = self.pyds.NvDsInferSegmentationMeta.cast(data)
        check_output((meta.classes, meta.height, meta.width), self.card)
        return polyp_map(self.pyds.get_segmentation_masks(meta))

    def _release_tensor(self, frame_meta: Any, user_meta: Any) -> ProbabilityMap:
        """Copy the tensor and return its buffer to nvinferserver.

        Every copy of this metadata keeps one of nvinferserver's few output buffers. An encoder
        keeps frames, so without this nvinferserver would wait for a free buffer forever
        (copy_tensor_output_meta in gstnvinferserver_meta_utils.cpp).
        """
        try:
            return self._tensor(user_meta.user_meta_data)
        finally:
            self.pyds.nvds_remove_user_meta_from_frame(frame_meta, user_meta)

    def _tensor(self, data: Any) -> ProbabilityMap:
        """Return a copy of the card's output from NvDsInferTensorMeta."""
        meta = self.pyds.NvDsInferTensorMeta.cast(data)
        names = []
        for number in range(meta.num_output_layers):
            layer = meta.output_layers_info(number)
            names.append(layer.layerName)
            if layer.layerName != self.card.output.name:
                continue
            if layer.dataType != self.pyds.NvDsInferDataType.FLOAT:
                raise InferenceError(f"{layer.layerName} has type {layer.dataType}, expected FLOAT")
            dims = layer.inferDims
            shape = tuple(int(n) for n in dims.d[: dims.numDims])
            check_output(shape, self.card)
            values = ctypes.cast(self.pyds.get_ptr(layer.buffer), ctypes.POINTER(ctypes.c_float))
            return check_probabilities(np.ctypeslib.as_array(values, shape=shape[-2:]).copy())
        raise InferenceError(f"outputs {', '.join(names)}: expected {self.card.output.name}")

    def _draw(
        self, buffer: int, batch_id: int, segmentation: Segmentation, stamp: int | None
    ) -> None:
        shown = self.controls.appearance
        self.statistics.assistant = "ready" if shown.enabled else "off"
        if not shown.enabled:
            self._draw_notice(buffer, batch_id, SWITCHED_OFF)
            return
        if segmentation.has_polyp:
            self.statistics.frames_with_polyp += 1
        if segmentation.has_polyp or shown.signs:
            with self._surface(buffer, batch_id) as surface:
                draw_mask(surface, segmentation.mask, shown.style)
                if shown.signs:
                    draw_ready(_planes_of(surface), surface.shape[:2], stamp or 0)
        if self.on_mask is not None:
            self.on_mask(segmentation)

    def _draw_notice(self, buffer: int, batch_id: int, text: str) -> None:
        """Say on the picture that it has no mask, if signs are wanted; NO SIGNAL always."""
        self.statistics.assistant = ASSISTANT[text]
        if text == NO_SIGNAL or self.controls.appearance.signs:
            with self._surface(buffer, batch_id) as surface:
                draw_notice(_planes_of(surface), text, surface.shape[:2])

    def _look_for_region(self, buffer: int, batch_id: int) -> None:
        """Show some frames to the finder of the scope's picture, before anything is drawn."""
        if self.controls.appearance.region != AUTO:
            return
        if self._looked_at == 0:
            with self._surface(buffer, batch_id) as surface:
                self.finder.update(np.array(surface[::REGION_STEP, ::REGION_STEP, :3]))
        self._looked_at = (self._looked_at + 1) % REGION_FRAMES

    def _mark_region(self, buffer: int, batch_id: int) -> None:
        """Show for a while where the scope's picture was found."""
        box = self.box_to_mark()
        if box:
            with self._surface(buffer, batch_id) as surface:
                draw_corner_marks(_planes_of(surface), box, surface.shape[:2])

    @contextmanager
    def _surface(self, buffer: int, batch_id: int) -> Iterator[Frame]:
        """Map the pixels of a frame, to be drawn on, for the time of the `with` block."""
        surface: Frame = self.pyds.get_nvds_buf_surface(buffer, batch_id)
        try:
            yield surface
        finally:
            del surface
            if self.jetson:
                self._sync_surface(buffer, batch_id)

    def _sync_surface(self, buffer: int, batch_id: int) -> None:
        """Make the drawing visible to a Jetson's hardware, then unmap the surface.

        pyds maps and unmaps surfaces, but the CPU's writes may still be in its cache
        (NvBufSurfaceMap in nvbufsurface.h).
        """
        try:
            surface = self.pyds.NvBufSurface.cast(data_address(buffer))
            if self.pyds.NvBufSurfaceSyncForDevice(surface, batch_id, ALL_PLANES) != 0:
                raise RuntimeError("NvBufSurfaceSyncForDevice failed")
        finally:
            self.pyds.unmap_nvds_buf_surface(buffer, batch_id)


def _planes_of(surface: Frame) -> PlanesOf:
    """Return a surface in RGBA as the planes of `xpnet.signs`."""
    return lambda rgb: [Plane(surface, (*rgb, 255))]


def iterate_meta(node: Any, kind: Any) -> Iterator[Any]:
    """Yield the metadata of a pyds list, which ends with None or StopIteration, by version."""
    while node is not None:
        try:
            yield kind.cast(node.data)
            node = node.next
        except StopIteration:
            return
