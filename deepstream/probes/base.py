"""Base of the pad probes: a failure in a probe never stops a frame."""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from deepstream.control.controls import Controls
from deepstream.control.preview import Preview
from deepstream.gstreamer import GLib, Gst
from deepstream.probes.polyp_results import PolypResults
from deepstream.recording.recorder import Recorder
from deepstream.statistics import RunStatistics
from xpnet.frames import ProbabilityMap, Segmentation
from xpnet.inference import InferenceError
from xpnet.scope_region import WHOLE, Box, Region, RegionFinder, cut, parse_region
from xpnet.steadiness import Steadier, Steadiness

log = logging.getLogger("xpnet.graph")

MAX_MASK_AGE_S = 0.15
"""In mode `latest` an older mask is not shown by default: the scope has moved on."""
REGION_MARKS_S = 3.0
"""How long four corner marks show where the scope's picture was found."""
PROBE_FAILED = "xpnet-probe-failed"
"""Name of the structure in the warning that a failed probe posts to the bus."""


class Probes:
    """Base of all probes: controls, statistics, results, and the guard around each handler.

    Attributes:
        height: Height of the frames in pixels.
        width: Width of the frames in pixels.
        controls: What is drawn, and how; may change at any time.
        on_mask: Called with the Segmentation of every frame drawn, in the overlay's thread.
        results: Gets the polyps of every frame, in the overlay's thread, or None.
        max_mask_age_s: In mode `latest`, by how many seconds a mask may be older than a frame.
        preview: Copies frames for the HTTP service, or None.
        recorder: Records what is shown, or None.
        statistics: Counts and times of the run.
        finder: Finds the scope's picture within the frame, where frames are given to it.
    """

    def __init__(
        self,
        height: int,
        width: int,
        controls: Controls,
        on_mask: Callable[[Segmentation], None] | None = None,
        results: PolypResults | None = None,
        max_mask_age_s: float = MAX_MASK_AGE_S,
        preview: Preview | None = None,
        recorder: Recorder | None = None,
    ) -> None:
        self.preview, self.recorder = preview, recorder
        self.max_mask_age_s = max_mask_age_s
        self.height, self.width = height, width
        self.controls, self.on_mask, self.results = controls, on_mask, results
        self.statistics = RunStatistics()
        self.finder = RegionFinder()
        self._steadiers: defaultdict[int, Steadier] = defaultdict(Steadier)
        self._marked_box, self._marked_until_s = WHOLE, 0.0

    def region(self) -> Region:
        """Return the part of the frame that is the scope's picture: as chosen, or as found."""
        return parse_region(self.controls.appearance.region) or self.finder.region

    def box_to_mark(self) -> Box | None:
        """Return the box of the scope's picture for a while after it changed, if signs are wanted.

        Call it once for each frame, in the overlay's thread.
        """
        now, box = time.monotonic(), self.region().box
        if box != self._marked_box:
            self._marked_box, self._marked_until_s = box, now + REGION_MARKS_S
        return box if now < self._marked_until_s and self.controls.appearance.signs else None

    def steady(
        self, stream: int, probabilities: ProbabilityMap, stamp_ns: int | None, threshold: float
    ) -> ProbabilityMap:
        """Return the map to show in the place of a new one; see xpnet.steadiness, scope_region.

        Args:
            stream: Number of the stream, from 0.
            probabilities: The map of the stream's newest frame.
            stamp_ns: Timestamp of that frame, or None.
            threshold: Probability above which a pixel is polyp.
        """
        shown = self.controls.appearance
        time_s = time.monotonic() if stamp_ns is None else stamp_ns / 1e9
        wanted = Steadiness(shown.smoothing, shown.confirmation)
        region = self.region()
        self.statistics.region = region.box
        inside = cut(probabilities, region)
        return self._steadiers[stream].update(inside, time_s, threshold, wanted)

    def guarded(self, name: str) -> Callable[[Any, Any], Any]:
        """Return a method as a pad probe that catches every exception and passes the buffer.

        Args:
            name: Name of a method that takes a pad and a Gst.PadProbeInfo.
        """
        handler: Callable[[Any, Any], None] = getattr(self, name)

        def probe(pad: Any, info: Any) -> Any:
            try:
                handler(pad, info)
            except Exception as error:
                self.report_failure(pad, name, error)
            return Gst.PadProbeReturn.OK

        return probe

    def frame_shown(self, pad: Any, info: Any) -> None:
        """Handle a frame on the branch for the HTTP service, in that branch's thread."""
        if self.preview is not None:
            self.preview.take(pad, info)

    @contextmanager
    def count_failures(self) -> Iterator[None]:
        """Count a frame whose mask fails, and record why inference failed."""
        try:
            yield
        except InferenceError as error:
            self.statistics.frames_without_mask += 1
            self.statistics.inference_failed(error)
        except Exception:  # logged by `guarded`
            self.statistics.frames_without_mask += 1
            raise

    def report_failure(self, pad: Any | None, name: str, error: Exception) -> None:
        """Count an exception in a handler; log the first one and post it to the bus.

        Args:
            pad: The pad of the probe; None if it is not known, and nothing is posted.
            name: Name of the handler.
            error: What it raised.
        """
        first = not self.statistics.probe_error
        self.statistics.probe_failed(error)
        if first:
            log.error(
                "probe failed (%s: %s); frames continue without masks", type(error).__name__, error
            )
            log.debug("probe failed", exc_info=error)
            _post(pad, name, self.statistics.probe_error)


def mask_age_s(mask_ns: int | None, frame_ns: int | None) -> float:
    """Return by how many seconds a mask is older than the frame that shows it; 0 if unknown."""
    if mask_ns is None or frame_ns is None:
        return 0.0
    return max(0.0, (frame_ns - mask_ns) / 1e9)


def _post(pad: Any, probe: str, reason: str) -> None:
    element = pad.get_parent_element() if pad is not None else None
    if element is None:
        return
    error = GLib.Error.new_literal(
        Gst.stream_error_quark(), f"probe failed: {reason}", Gst.StreamError.FAILED
    )
    details = Gst.Structure.new_empty(PROBE_FAILED)
    details.set_value("probe", probe)
    details.set_value("reason", reason)
    element.post_message(
        Gst.Message.new_warning_with_details(
            element, error, "frames continue without masks", details
        )
    )
