"""The two probes of plain GStreamer: one submits frames to inference, the other draws the masks.

A queue between them lets decoding, inference and drawing overlap. If anything fails here, the frame
passes unchanged.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError  # its own type on Python 3.10
from dataclasses import dataclass
from typing import Any

from deepstream.probes.base import MAX_MASK_AGE_S, Probes, mask_age_s
from deepstream.probes.pixels import mapped_frame, stream_time_ns, timestamp_ns
from deepstream.probes.polyp_results import PolypResults, post_polyps
from deepstream.probes.video_frame import FormatReader
from xpnet.frames import ProbabilityMap, Segmentation, frame_to_tensor, probabilities_to_mask
from xpnet.inference import Inference, InferenceError
from xpnet.overlay import OverlayStyle, draw_on_planes

INFERENCE_TIMEOUT_S = 12.0
"""Longest wait for a result; a little longer than the Triton client's own timeout."""


@dataclass
class _Submitted:
    """A frame that was submitted to inference."""

    timestamp_ns: int | None
    entered_s: float
    future: Future[ProbabilityMap]
    result_s: float = 0.0
    segmentation: Segmentation | None = None


class MaskProbes(Probes):
    """Base of the two modes: map the frame, submit it, draw the mask, record statistics."""

    def __init__(
        self,
        height: int,
        width: int,
        inference: Inference,
        style: OverlayStyle,
        on_mask: Callable[[Segmentation], None] | None = None,
        results: PolypResults | None = None,
    ) -> None:
        super().__init__(height, width, style, on_mask, results)
        self.inference = inference
        self._arriving, self._leaving = FormatReader(), FormatReader()

    def frame_arrived(self, pad: Any, info: Any) -> None:
        """Handle a frame before the queue."""
        raise NotImplementedError

    def frame_leaves(self, pad: Any, info: Any) -> None:
        """Handle a frame behind the queue."""
        raise NotImplementedError

    def _submit(self, pad: Any, info: Any) -> _Submitted:
        """Submit a frame; an exception is stored in the future."""
        stamp, entered = timestamp_ns(info), time.monotonic()
        try:
            card = self.inference.card
            height, width = card.input.height, card.input.width
            with mapped_frame(info, self._arriving.read(pad)) as frame:
                tensor = frame_to_tensor(frame.scaled_rgb(height, width), height, width)
            submitted = _Submitted(stamp, entered, self.inference.submit(tensor))
        except Exception as error:
            failed: Future[ProbabilityMap] = Future()
            failed.set_exception(error)
            return _Submitted(stamp, entered, failed)
        submitted.future.add_done_callback(
            lambda _: setattr(submitted, "result_s", time.monotonic())
        )
        return submitted

    def _segment(self, submitted: _Submitted) -> Segmentation:
        """Wait for the result and make the mask. Raises InferenceError if inference failed."""
        if submitted.segmentation is None:
            try:
                probabilities = submitted.future.result(timeout=INFERENCE_TIMEOUT_S)
            except FutureTimeoutError:
                self.inference.abandon(f"no result within {INFERENCE_TIMEOUT_S:g} s")
                raise InferenceError(f"no result within {INFERENCE_TIMEOUT_S:g} s") from None
            threshold = self.inference.card.threshold
            mask = probabilities_to_mask(probabilities, self.height, self.width, threshold)
            submitted.segmentation = Segmentation(mask, submitted.timestamp_ns, probabilities)
            result_s = submitted.result_s or time.monotonic()
            self.statistics.inference_s.append(result_s - submitted.entered_s)
        return submitted.segmentation

    def _draw(self, pad: Any, info: Any, segmentation: Segmentation) -> None:
        if segmentation.has_polyp:
            self.statistics.frames_with_polyp += 1
            with mapped_frame(info, self._leaving.read(pad), write=True) as frame:
                draw_on_planes(frame.planes(self.style.colour), segmentation.mask, self.style)
        if self.on_mask is not None:
            self.on_mask(segmentation)

    def _report(self, pad: Any, segmentation: Segmentation | None, stamp: int | None) -> None:
        """Pass the frame's polyps to the results and the bus, if they are wanted."""
        if self.results is None:
            return
        polyps = self.results.frame(segmentation, stamp, stream_time_ns(pad, stamp))
        if polyps is not None:
            post_polyps(pad, stamp, polyps)


class EveryProbes(MaskProbes):
    """Mode `every`: each frame waits for its own mask.

    The queue between the probes neither drops nor reorders frames, so they leave it in the order in
    which they were submitted, and a deque matches frames and results.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._pending: deque[_Submitted] = deque()

    def frame_arrived(self, pad: Any, info: Any) -> None:
        """Submit the frame; blocks while inference is busy."""
        self._pending.append(self._submit(pad, info))

    def frame_leaves(self, pad: Any, info: Any) -> None:
        """Draw the frame's own mask, or nothing if inference failed."""
        submitted = self._pending.popleft()
        segmentation = None
        try:
            with self.count_failures():
                segmentation = self._segment(submitted)
                self._draw(pad, info, segmentation)
        finally:
            now = time.monotonic()
            self.statistics.frame_drawn(now, submitted.timestamp_ns)
            self.statistics.latency_s.append(now - submitted.entered_s)
            self._report(pad, segmentation, submitted.timestamp_ns)


class LatestProbes(MaskProbes):
    """Mode `latest`: frames pass at the source's frame rate, each with the newest mask."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._running: _Submitted | None = None
        self._newest: _Submitted | None = None
        self._entered: deque[float] = deque()
        self._start: tuple[float, int] | None = None  # time and timestamp of the first frame

    def frame_arrived(self, pad: Any, info: Any) -> None:
        """Submit the frame if inference is idle; never blocks."""
        self._entered.append(time.monotonic())
        running = self._running
        if running is not None and not running.future.done():
            if time.monotonic() - running.entered_s < INFERENCE_TIMEOUT_S:
                return
            self.inference.abandon(f"no result within {INFERENCE_TIMEOUT_S:g} s")
        self._newest_result()
        self._running = self._submit(pad, info)

    def frame_leaves(self, pad: Any, info: Any) -> None:
        """Draw the newest mask if it is recent."""
        stamp = timestamp_ns(info)
        entered = self._entered.popleft()
        segmentation = None
        try:
            newest = self._newest_result()
            age = mask_age_s(newest.timestamp_ns if newest else None, stamp)
            if newest is None or age > MAX_MASK_AGE_S:
                self.statistics.frames_without_mask += 1
            else:
                segmentation = self._segment(newest)
                self._draw(pad, info, segmentation)
                self.statistics.mask_age_s.append(age)
        finally:
            now = time.monotonic()
            self.statistics.frame_drawn(now, stamp)
            self.statistics.latency_s.append(now - entered)
            if self._start is None:
                self._start = (now, stamp or 0)
            due = self._start[0] + ((stamp or 0) - self._start[1]) / 1e9
            self.statistics.lateness_s.append(now - due)
            self._report(pad, segmentation, stamp)

    def _newest_result(self) -> _Submitted | None:
        running = self._running
        if running is not None and running.future.done():
            error = running.future.exception()
            if error is None:
                self._newest = running
            else:
                self.statistics.inference_failed(error)
        return self._newest


MODES: dict[str, type[MaskProbes]] = {"every": EveryProbes, "latest": LatestProbes}
