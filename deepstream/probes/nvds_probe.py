"""The probe on DeepStream: reads what nvinferserver made of a frame, draws it, attaches polyps.

It stands before nvdsosd, on buffers of NVIDIA's memory that carry an NvDsBatchMeta. All that it
uses of pyds is read in NVIDIA's deepstream_python_apps (bindings/src); `pyds` is handed in, so
that tests can run this very code on real metadata without a GPU.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from deepstream.probes.base import OLDEST_MASK_S, Probes, age_s
from deepstream.probes.nvds_objects import attach_polyp
from deepstream.probes.pixels import CLOCK_TIME_NONE, buffer_address, data_address, stream_time_ns
from deepstream.probes.polyp_results import PolypResults
from xpnet.card import Card
from xpnet.frames import Frame, ProbabilityMap, Segmentation, probabilities_to_mask
from xpnet.inference import InferenceError
from xpnet.overlay import draw_mask

POLYP_CLASS = 0
"""nvinferserver's class of a pixel: the channel above the threshold, or -1 for background."""
ALL_PLANES = -1
"""Of a surface (nvbufsurface.h)."""
HALF = 0.5
"""Where a class map, scaled as a map of 0 and 1, is cut: its edge is smooth, and stays in place."""


class NvdsProbes(Probes):
    """One probe for the whole batch; each frame of it is read, drawn and reported by itself.

    `tensors`: take the network's own probabilities (NvDsInferTensorMeta, `output_tensor_meta` in
    nvinferserver's config) and cut them at the card's threshold, instead of the class map that
    nvinferserver cut (NvDsInferSegmentationMeta). `jetson`: surfaces are mapped, and unmapped.
    `interval`: so many frames after one with a mask nvinferserver leaves out, and they show the
    mask of that one (mode `latest`).
    """

    def __init__(
        self,
        *args: Any,
        card: Card,
        pyds: Any,
        tensors: bool = False,
        jetson: bool = False,
        interval: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.card, self.pyds = card, pyds
        self.tensors, self.jetson, self.interval = tensors, jetson, interval
        self._newest: dict[int, tuple[Segmentation, int]] = {}
        """By source: its newest mask, and how many frames without one of their own showed it."""
        if self.results is None:
            self.results = PolypResults()  # the text on the screen needs them in any case

    def frame_leaves(self, pad: Any, info: Any) -> None:
        """Called with every batch; a mistake in one of its frames is none of the others."""
        buffer = buffer_address(info)
        batch = self.pyds.gst_buffer_get_nvds_batch_meta(buffer)
        if batch is None:
            raise RuntimeError("the buffer carries no NvDsBatchMeta: is nvstreammux before it?")
        for frame_meta in each(batch.frame_meta_list, self.pyds.NvDsFrameMeta):
            try:
                self._frame(pad, buffer, batch, frame_meta)
            except Exception as error:
                self.failed(pad, "frame_leaves", error)

    def _frame(self, pad: Any, buffer: int, batch: Any, frame_meta: Any) -> None:
        entered = time.monotonic()
        stamp = None if frame_meta.buf_pts == CLOCK_TIME_NONE else frame_meta.buf_pts
        segmentation = None
        try:
            with self.counted():
                segmentation = self._newest_mask(frame_meta, stamp)
                self._draw(buffer, frame_meta.batch_id, segmentation)
        finally:
            now = time.monotonic()
            self.statistics.frame_drawn(now, stamp)
            self.statistics.latency_s.append(now - entered)  # of the probe alone
            assert self.results is not None
            polyps = self.results.frame(segmentation, stamp, stream_time_ns(pad, stamp))
        for polyp in polyps or ():
            attach_polyp(self.pyds, batch, frame_meta, polyp)

    def _newest_mask(self, frame_meta: Any, stamp: int | None) -> Segmentation:
        """The frame's own mask, or the newest of its source where it was left out, and its age.

        Raises InferenceError as `_segment`, where there is none, or it is too old.
        """
        source = frame_meta.pad_index
        try:
            segmentation, shown = self._segment(frame_meta, stamp), 0
        except InferenceError:
            if source not in self._newest:
                raise
            segmentation, shown = self._newest[source]
            age = age_s(segmentation.timestamp_ns, stamp)
            if shown == self.interval or age > OLDEST_MASK_S:
                raise
            shown += 1
        if self.interval:
            self._newest[source] = segmentation, shown
            self.statistics.mask_age_s.append(age_s(segmentation.timestamp_ns, stamp))
        return segmentation

    def _segment(self, frame_meta: Any, stamp: int | None) -> Segmentation:
        """The frame's mask. Raises InferenceError where nvinferserver left none."""
        wanted = (
            self.pyds.NVDSINFER_TENSOR_OUTPUT_META
            if self.tensors
            else self.pyds.NVDSINFER_SEGMENTATION_META
        )
        for user_meta in each(frame_meta.frame_user_meta_list, self.pyds.NvDsUserMeta):
            if user_meta.base_meta.meta_type == wanted:
                if self.tensors:
                    probabilities = self._taken_tensor(frame_meta, user_meta)
                    threshold = self.card.threshold
                else:
                    probabilities, threshold = self._class_map(user_meta.user_meta_data), HALF
                mask = probabilities_to_mask(probabilities, self.height, self.width, threshold)
                return Segmentation(mask, stamp, probabilities if self.tensors else None)
        kind = "tensor (is output_tensor_meta on?)" if self.tensors else "mask"
        raise InferenceError(f"nvinferserver left no {kind} on the frame")

    def _class_map(self, data: Any) -> ProbabilityMap:
        """Classes of NvDsInferSegmentationMeta as a map of 0 and 1, in memory of our own."""
        meta = self.pyds.NvDsInferSegmentationMeta.cast(data)
        self._check((meta.classes, meta.height, meta.width))
        return (self.pyds.get_segmentation_masks(meta) == POLYP_CLASS).astype(np.float32)

    def _taken_tensor(self, frame_meta: Any, user_meta: Any) -> ProbabilityMap:
        """As `_tensor`, and the tensor is nvinferserver's again.

        On its way through the graph every copy of this metadata holds one of its few output
        buffers, an encoder keeps frames, and nvinferserver waits for ever for a buffer to be free
        (copy_tensor_output_meta in gstnvinferserver_meta_utils.cpp).
        """
        try:
            return self._tensor(user_meta.user_meta_data)
        finally:
            self.pyds.nvds_remove_user_meta_from_frame(frame_meta, user_meta)

    def _tensor(self, data: Any) -> ProbabilityMap:
        """The card's output of NvDsInferTensorMeta, in memory of our own."""
        meta = self.pyds.NvDsInferTensorMeta.cast(data)
        names = []
        for number in range(meta.num_output_layers):
            layer = meta.output_layers_info(number)
            names.append(layer.layerName)
            if layer.layerName != self.card.output.name:
                continue
            if layer.dataType != self.pyds.NvDsInferDataType.FLOAT:
                raise InferenceError(f"{layer.layerName} is of {layer.dataType}, expected FLOAT")
            dims = layer.inferDims
            shape = tuple(int(n) for n in dims.d[: dims.numDims])
            self._check(shape)
            values = ctypes.cast(self.pyds.get_ptr(layer.buffer), ctypes.POINTER(ctypes.c_float))
            return np.ctypeslib.as_array(values, shape=shape[-2:]).copy()
        raise InferenceError(f"outputs {', '.join(names)}: expected {self.card.output.name}")

    def _check(self, found: tuple[int, ...]) -> None:
        expected = (1, self.card.output.height, self.card.output.width)
        if found != expected:
            raise InferenceError(
                f"nvinferserver's output is {' x '.join(map(str, found))}, the card of "
                f"{self.card.name} says {' x '.join(map(str, expected))}: does its config fit?"
            )

    def _draw(self, buffer: int, batch_id: int, segmentation: Segmentation) -> None:
        if segmentation.has_polyp:
            self.statistics.frames_with_polyp += 1
            surface: Frame = self.pyds.get_nvds_buf_surface(buffer, batch_id)
            try:
                draw_mask(surface, segmentation.mask, self.style)
            finally:
                del surface
                if self.jetson:
                    self._hand_back(buffer, batch_id)
        if self.on_mask is not None:
            self.on_mask(segmentation)

    def _hand_back(self, buffer: int, batch_id: int) -> None:
        """Lets a Jetson's hardware see what was drawn: pyds maps a surface and unmaps it, but what
        the CPU wrote may still lie in its cache (NvBufSurfaceMap in nvbufsurface.h).
        """
        try:
            surface = self.pyds.NvBufSurface.cast(data_address(buffer))
            if self.pyds.NvBufSurfaceSyncForDevice(surface, batch_id, ALL_PLANES) != 0:
                raise RuntimeError("NvBufSurfaceSyncForDevice failed")
        finally:
            self.pyds.unmap_nvds_buf_surface(buffer, batch_id)


def each(node: Any, kind: Any) -> Iterator[Any]:
    """The metas of one of pyds's lists, which end with None or, in some versions, StopIteration."""
    while node is not None:
        try:
            yield kind.cast(node.data)
            node = node.next
        except StopIteration:
            return
