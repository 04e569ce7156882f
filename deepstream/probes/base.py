"""What the probes of every platform share: whatever fails in one, the frame goes on."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from deepstream.gstreamer import GLib, Gst
from deepstream.probes.polyp_results import PolypResults
from deepstream.statistics import RunStatistics
from xpnet.frames import Segmentation
from xpnet.inference import InferenceError
from xpnet.overlay import OverlayStyle

log = logging.getLogger("xpnet.graph")

OLDEST_MASK_S = 1.0
"""In mode `latest` a mask older than this is no longer shown: the scope has moved on."""
PROBE_FAILED = "xpnet-probe-failed"
"""Name of the structure in the warning that a failing probe posts to the bus."""


class Probes:
    """Base of all probes: style, statistics, results, and the guard around each handler.

    `height` and `width` are the canvas's, in pixels. `on_mask`, where given, gets the
    Segmentation of every frame drawn, in order, in the overlay's thread; `results` likewise the
    polyps of every frame that leaves.
    """

    def __init__(
        self,
        height: int,
        width: int,
        style: OverlayStyle,
        on_mask: Callable[[Segmentation], None] | None = None,
        results: PolypResults | None = None,
    ) -> None:
        self.height, self.width = height, width
        self.style, self.on_mask, self.results = style, on_mask, results
        self.statistics = RunStatistics()

    def guarded(self, name: str) -> Callable[[Any, Any], Any]:
        """The handler called `name` as a pad probe, which always lets its buffer pass."""
        handler: Callable[[Any, Any], None] = getattr(self, name)

        def probe(pad: Any, info: Any) -> Any:
            try:
                handler(pad, info)
            except Exception as error:
                self.failed(pad, name, error)
            return Gst.PadProbeReturn.OK

        return probe

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Around a frame's mask: counts the frame that gets none, and keeps inference's reason."""
        try:
            yield
        except InferenceError as error:
            self.statistics.frames_without_mask += 1
            self.statistics.inference_failed(error)
        except Exception:  # counted here, told by the guard
            self.statistics.frames_without_mask += 1
            raise

    def failed(self, pad: Any, name: str, error: Exception) -> None:
        """Logs the first mistake of all handlers and posts it to the bus, and counts every one.

        A flood of messages would hide the first.
        """
        first = not self.statistics.probe_error
        self.statistics.probe_failed(error)
        if first:
            log.error("probe failed (%s: %s); frames go on", type(error).__name__, error)
            log.debug("probe failed", exc_info=error)
            _post(pad, name, self.statistics.probe_error)


def age_s(mask_ns: int | None, frame_ns: int | None) -> float:
    """How much older than the frame shown the frame of its mask is, in seconds of the clip."""
    if mask_ns is None or frame_ns is None:
        return 0.0
    return max(0.0, (frame_ns - mask_ns) / 1e9)


def _post(pad: Any, probe: str, reason: str) -> None:
    element = pad.get_parent_element()
    if element is None:
        return
    error = GLib.Error.new_literal(
        Gst.stream_error_quark(), f"probe failed: {reason}", Gst.StreamError.FAILED
    )
    details = Gst.Structure.new_empty(PROBE_FAILED)
    details.set_value("probe", probe)
    details.set_value("reason", reason)
    element.post_message(
        Gst.Message.new_warning_with_details(element, error, "frames go on", details)
    )
