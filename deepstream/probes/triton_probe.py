"""The two probes of plain GStreamer: one submits frames to inference, the other draws the masks.

A queue between them lets decoding, inference and drawing overlap. If anything fails here, the frame
passes unchanged.
"""

from __future__ import annotations

import time
from collections import deque
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError  # its own type on Python 3.10
from dataclasses import dataclass, field
from typing import Any

from deepstream.probes.base import Probes, mask_age_s
from deepstream.probes.pixels import mapped_frame, stream_time_ns, timestamp_ns
from deepstream.probes.polyp_results import post_polyps
from deepstream.probes.video_frame import FormatReader
from xpnet.card import Card
from xpnet.frames import (
    ProbabilityMap,
    Segmentation,
    frame_to_tensor,
    probabilities_to_mask,
    without_weak_areas,
)
from xpnet.inference import Inference, InferenceError
from xpnet.overlay import draw_on_planes, outline_of
from xpnet.scope_region import AUTO
from xpnet.signs import (
    ASSISTANT,
    NO_SIGNAL,
    NOT_AVAILABLE,
    STARTING,
    SWITCHED_OFF,
    draw_corner_marks,
    draw_notice,
    draw_ready,
    draw_recording,
)

INFERENCE_TIMEOUT_S = 12.0
"""Longest wait for a result; a little longer than the Triton client's own timeout."""
LATEST_TIMEOUT_S = 2.0
"""In mode `latest` a later result would be too old to be shown."""


@dataclass
class _Submitted:
    """A frame that was submitted to inference."""

    timestamp_ns: int | None
    entered_s: float
    future: Future[ProbabilityMap]
    requested_s: float = 0.0
    # When the result was there. The future must not refer to this object: a cycle keeps its map
    # until Python's garbage collector finds it.
    result_s: list[float] = field(default_factory=list)


class MaskProbes(Probes):
    """Base of the two modes: map the frame, submit it, draw the mask, record statistics."""

    def __init__(
        self,
        height: int,
        width: int,
        inference: Inference,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        super().__init__(height, width, *args, **kwargs)
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
                rgb = frame.scaled_rgb(height, width)
            if self.controls.appearance.region == AUTO:
                self.finder.update(rgb)
            tensor = frame_to_tensor(rgb, height, width)
            requested = time.monotonic()
            self.statistics.preprocess_s.append(requested - entered)
            submitted = _Submitted(stamp, entered, self.inference.submit(tensor), requested)
        except Exception as error:
            failed: Future[ProbabilityMap] = Future()
            failed.set_exception(error)
            return _Submitted(stamp, entered, failed)
        result_s = submitted.result_s
        submitted.future.add_done_callback(lambda _: result_s.append(time.monotonic()))
        return submitted

    def _segment(self, submitted: _Submitted, timeout_s: float) -> Segmentation:
        """Wait for the result and make the mask. Raises InferenceError if inference failed."""
        try:
            probabilities = submitted.future.result(timeout=timeout_s)
        except FutureTimeoutError:
            self.inference.abandon(f"no result within {timeout_s:g} s")
            raise InferenceError(f"no result within {timeout_s:g} s") from None
        card = self.inference.card
        result_s = submitted.result_s[0] if submitted.result_s else time.monotonic()
        self.statistics.inference_s.append(result_s - submitted.requested_s)
        started = time.monotonic()
        check_result(probabilities, card)
        chosen = self.controls.appearance.threshold
        threshold = card.threshold if chosen is None else chosen
        # Before steadying: smoothing lowers peaks.
        probabilities = without_weak_areas(probabilities, threshold, card.peak)
        probabilities = self.steady(0, probabilities, submitted.timestamp_ns, threshold)
        mask = probabilities_to_mask(probabilities, self.height, self.width, threshold)
        # In mode `latest` this thread is not the picture's, which then only draws.
        outline = outline_of(mask, self.controls.appearance.style.shape)
        self.statistics.mask_s.append(time.monotonic() - started)
        return Segmentation(mask, submitted.timestamp_ns, probabilities, outline)

    def _draw(self, pad: Any, info: Any, segmentation: Segmentation) -> None:
        """Draw a mask and, if wanted, the sign that the assistant works."""
        shown = self.controls.appearance
        self.statistics.assistant = "ready" if shown.enabled else "off"
        if not shown.enabled:
            self._draw_notice(pad, info, SWITCHED_OFF)
            return
        if segmentation.has_polyp:
            self.statistics.frames_with_polyp += 1
        if segmentation.has_polyp or shown.signs:
            stamp, started = timestamp_ns(info) or 0, time.monotonic()
            with mapped_frame(info, self._leaving.read(pad), write=True) as frame:
                planes = frame.planes(shown.style.colour)
                draw_on_planes(planes, segmentation.mask, shown.style, segmentation.outline)
                if shown.signs:
                    draw_ready(frame.planes, (self.height, self.width), stamp)
            self.statistics.overlay_s.append(time.monotonic() - started)
        if self.on_mask is not None:
            self.on_mask(segmentation)

    def _draw_notice(self, pad: Any, info: Any, text: str) -> None:
        """Say on the picture that it has no mask, if signs are wanted.

        That there is no signal is always said: a picture that stands still looks like a live one.
        """
        self.statistics.assistant = ASSISTANT[text]
        if text == NO_SIGNAL or self.controls.appearance.signs:
            with mapped_frame(info, self._leaving.read(pad), write=True) as frame:
                draw_notice(frame.planes, text, (self.height, self.width))

    def _draw_signs(self, pad: Any, info: Any) -> None:
        """Say on the picture that it is recorded, and for a while where the scope's picture is."""
        sign, box = self.statistics.recording_sign, self.box_to_mark()
        if sign or box:
            with mapped_frame(info, self._leaving.read(pad), write=True) as frame:
                if sign:
                    draw_recording(frame.planes, sign, (self.height, self.width))
                if box:
                    draw_corner_marks(frame.planes, box, (self.height, self.width))

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
        segmentation, lost = None, self.statistics.source_lost
        try:
            with self.count_failures():
                found = self._segment(submitted, INFERENCE_TIMEOUT_S)
                if lost:
                    self.statistics.frames_without_mask += 1
                else:
                    segmentation = found
                    self._draw(pad, info, segmentation)
        finally:
            if segmentation is None:
                self._draw_notice(pad, info, NO_SIGNAL if lost else NOT_AVAILABLE)
            self._draw_signs(pad, info)
            now = time.monotonic()
            self.statistics.frame_drawn(now, submitted.timestamp_ns)
            self.statistics.latency_s.append(now - submitted.entered_s)
            self._report(pad, segmentation, submitted.timestamp_ns)


class LatestProbes(MaskProbes):
    """Mode `latest`: frames pass at the source's frame rate, each with the newest mask.

    Inference has a branch and a thread of its own (`frame_arrived`). The picture's thread only
    reads the newest mask, so that nothing that happens to inference delays a frame.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._newest: tuple[Segmentation, float] | None = None  # and when its frame arrived
        self._entered_s = 0.0
        self._start: tuple[float, int] | None = None  # time and timestamp of the first frame

    def frame_enters(self, _pad: Any, _info: Any) -> None:
        """Note when a frame enters; the same thread calls `frame_leaves` for it."""
        self._entered_s = time.monotonic()

    def frame_arrived(self, pad: Any, info: Any) -> None:
        """Compute the mask of a frame on the branch; blocks its thread only."""
        submitted = self._submit(pad, info)
        try:
            self._newest = self._segment(submitted, LATEST_TIMEOUT_S), submitted.entered_s
        except InferenceError as error:
            self.statistics.inference_failed(error)

    def frame_leaves(self, pad: Any, info: Any) -> None:
        """Draw the newest mask if it is recent, else a notice."""
        stamp = timestamp_ns(info)
        entered, lost = self._entered_s, self.statistics.source_lost
        newest, computed_s = self._newest or (None, 0.0)
        segmentation = None
        try:
            age = mask_age_s(newest.timestamp_ns if newest else None, stamp)
            # Timestamps may jump back; the clock of this machine does not.
            waited = entered - computed_s
            if newest is None or max(age, waited) > self.max_mask_age_s or lost:
                self.statistics.frames_without_mask += 1
                reason = STARTING if newest is None else NOT_AVAILABLE
                self._draw_notice(pad, info, NO_SIGNAL if lost else reason)
            else:
                segmentation = newest
                self._draw(pad, info, segmentation)
                self.statistics.mask_age_s.append(age)
        finally:
            self._draw_signs(pad, info)
            now = time.monotonic()
            self.statistics.frame_drawn(now, stamp)
            self.statistics.latency_s.append(now - entered)
            if self._start is None:
                self._start = (now, stamp or 0)
            due = self._start[0] + ((stamp or 0) - self._start[1]) / 1e9
            self.statistics.lateness_s.append(now - due)
            self._report(pad, segmentation, stamp)


def check_result(probabilities: ProbabilityMap, card: Card) -> None:
    """Check that a result is a probability map of the card's size.

    Args:
        probabilities: What inference returned.
        card: The model's card.

    Raises:
        InferenceError: It has another size, or a value outside [0, 1], such as NaN.
    """
    wanted = (card.output.height, card.output.width)
    if probabilities.shape != wanted:
        raise InferenceError(
            f"{card.name}: a result of {probabilities.shape}, expected {wanted}: wrong model?"
        )
    low, high = float(probabilities.min()), float(probabilities.max())
    if not (low >= 0 and high <= 1):  # false for NaN, too
        raise InferenceError(
            f"{card.name}: a result of {low:g} to {high:g}, expected probabilities of 0 to 1"
        )


MODES: dict[str, type[MaskProbes]] = {"every": EveryProbes, "latest": LatestProbes}
