"""Plays a graph to its end: progress, errors, stalls, and reconnection of live sources."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from tqdm import tqdm

from deepstream.control.keys import reading_keys
from deepstream.graph.description import Description
from deepstream.graph.pipeline import Graph
from deepstream.gstreamer import GLib, Gst, require_elements
from deepstream.io.held_frame import holding_last_frame
from deepstream.io.live_source import ENDED, LiveSource, held_pad
from deepstream.io.output import SCREEN, Output, SinkProperties
from deepstream.io.source import VideoSource
from deepstream.probes.base import Probes
from xpnet.errors import UserError
from xpnet.host.interrupts import counting_interrupts
from xpnet.host.watchdog import Watchdog

log = logging.getLogger("xpnet.graph")

INFERENCE = "inference"
"""Name of the element that computes masks inside the graph: nvinferserver."""
OnMessage = Callable[[Any], None]
"""Called with a Gst.Message."""
POLL_NS = 50_000_000
MAX_MAINLOOP_ITERATIONS = 100
"""Iterations of the main context in one poll; the limit keeps a busy event source from blocking."""
STALL_S = 30.0
"""A graph without a frame for this long hangs; a live source is treated as disconnected."""
WATCHDOG_STALL_S = 45.0
"""Without a frame for this long a service's process is restarted: longer than STALL_S, after which
the graph helps itself."""
RETRY_S = 1.0
"""Delay before a disconnected live source is opened again."""
MAX_MISSING_SHARE = 0.05
"""A video that ends more than this share (and one second) early is reported as truncated."""


class Ending(Enum):
    """How a run ended; the output is a complete file in every case."""

    COMPLETE = "complete"
    INTERRUPTED = "interrupted"  # by the user
    BROKEN_INPUT = "broken input"  # the output contains the frames before the break
    BROKEN_GRAPH = "broken graph"  # an element failed; likewise


@dataclass(frozen=True)
class Outcome:
    """How a run ended, and why.

    Attributes:
        ending: The kind of ending.
        reason: The error message; empty for a complete run.
    """

    ending: Ending
    reason: str = ""


def play(
    source: VideoSource,
    output: Output,
    probes: Probes,
    describe: Callable[[SinkProperties, bool], Description],
    on_message: OnMessage | None = None,
) -> Outcome:
    """Play a source through the probes into an output.

    If the inference element of a live picture fails, the picture continues in a second graph
    without inference.

    Args:
        source: The opened source.
        output: The checked output; a file gets its name when it is complete.
        probes: The handlers of the graph's pad probes.
        describe: Makes the description of the graph from the sink's properties, with inference
            or without.
        on_message: Called with every message of the pipeline's bus, in this thread.

    Raises:
        UserError: No frame was decoded, the output cannot be written, or the graph hangs.
    """
    with output.open() as sink:
        for inference in (True, False):
            description = describe(sink, inference)
            require_elements(row.factory for row in description.elements)
            log.debug("gst-launch-1.0 %s", source.without_credentials(description.as_launch()))
            graph = Graph(source, description, probes)
            player = _Player(graph, probes, output, on_message)
            keys: AbstractContextManager[None] = nullcontext()
            if output.kind == SCREEN:
                pad = graph.element("drawn").get_static_pad("src")
                keys = reading_keys(pad, probes.controls)
            held: AbstractContextManager[None] = nullcontext()
            if source.is_live:
                held = holding_last_frame(
                    graph.element("leaky").get_static_pad("sink"),
                    held_pad(graph.pipeline),
                    source.fps,
                    probes.statistics,
                )
            try:
                with keys, held:
                    outcome = player.run()
            finally:
                graph.pipeline.set_state(Gst.State.NULL)
            shown = source.is_live and output.kind != "file"  # a viewer waits for the picture
            if not (shown and player.failed_element == INFERENCE):
                break
            log.warning("%s; the video continues without masks", outcome.reason)
            probes.statistics.inference_failed(RuntimeError(outcome.reason))
    return outcome


class _Player:
    """One graph while it plays; `run` polls its bus until the end of the stream."""

    def __init__(
        self, graph: Graph, probes: Probes, output: Output, on_message: OnMessage | None
    ) -> None:
        self.graph, self.probes, self.output = graph, probes, output
        self.on_message = on_message
        self.source = graph.source
        self.bus = graph.pipeline.get_bus()
        self.ending, self.reason = Ending.COMPLETE, ""
        self.failed_element = ""
        # The pause between two frames of a slow folder of images is not a stall.
        self.stall_s = STALL_S + (2 / self.source.fps if self.source.fps else 0)
        self.progress_s, self.seen = time.monotonic(), probes.statistics.frames
        self.moved_s = self.progress_s  # as progress_s, but not set by a stall that was handled
        self.seen_arriving = 0 if graph.live is not None else self.seen
        self.interrupts: Callable[[], int] = int
        self.interrupted = 0  # how many interrupts were handled
        self.disconnected, self.retry_s, self.arrived = False, math.inf, math.inf

    def run(self) -> Outcome:
        watchdog = Watchdog()
        self.graph.pipeline.set_state(Gst.State.PLAYING)
        with (
            counting_interrupts() as self.interrupts,
            tqdm(
                total=self.source.frames or None,
                unit=" frames",
                desc=Path(self.source.display_name).name,
                disable=None,
            ) as bar,
        ):
            while not self._poll(bar):
                if self.ending is not Ending.COMPLETE:
                    watchdog.ending()
                elif self._works():
                    watchdog.alive()
            watchdog.ending()
        if self.probes.statistics.frames == 0:
            reason = self.reason or "the stream ended at once"
            raise UserError(f"{self.source.display_name}: no frame could be decoded: {reason}")
        self._check_length()
        return Outcome(self.ending, self.reason)

    def _works(self) -> bool:
        """Return whether frames are shown, or this loop waits for a source that is away.

        A source that delivers while nothing is shown is not away: something behind it hangs.
        """
        recent = time.monotonic() - self.moved_s < WATCHDOG_STALL_S
        return self.probes.statistics.frames > 0 and (recent or self.disconnected)

    def _poll(self, bar: Any) -> bool:
        """Handle the events of one poll; return True at the end of the stream."""
        try:
            message = self.bus.timed_pop(POLL_NS)
            if self.interrupts() > self.interrupted:
                self.interrupted = self.interrupts()
                self._end(Ending.INTERRUPTED, "stopped by the user")
            self._forward(message)
            self._check_progress(bar)
            if self.disconnected and self.graph.live is not None:
                self._reconnect(self.graph.live)
            _iterate_main_context()
            return message is not None and self._handle(message)
        except KeyboardInterrupt:
            self._end(Ending.INTERRUPTED, "stopped by the user")
            return False

    def _handle(self, message: Any) -> bool:
        """Handle a message of the bus; return True at the end of the stream."""
        if message.type == Gst.MessageType.EOS:
            return True
        if message.type == Gst.MessageType.ERROR:
            if self._is_closed_window(message):
                self._end_with_window()
                return True
            self._handle_error(message)
        elif message.has_name(ENDED) and not self.disconnected:
            if self.graph.live is not None and self.graph.live.repeats:
                self.graph.live.restart()
            else:
                self.graph.end()
        return False

    def _forward(self, message: Any) -> None:
        """Call `on_message`; if it raises, log it once and do not call it again."""
        if message is None or self.on_message is None:
            return
        try:
            self.on_message(message)
        except Exception:
            log.exception("on_message failed; it is not called again")
            self.on_message = None

    def _is_closed_window(self, message: Any) -> bool:
        """Return whether an error says that the user closed the window."""
        error, _ = message.parse_error()
        closed = error.matches(Gst.ResourceError.quark(), Gst.ResourceError.NOT_FOUND)
        shown = self.output.kind == SCREEN and self.probes.statistics.frames > 0
        return bool(closed and shown and self.graph.failed_element(message) == "sink")

    def _end_with_window(self) -> None:
        """End the run as the user asked for by closing the window, unless it already ends."""
        if self.ending is Ending.COMPLETE:
            self._count_arrivals()
            self.ending, self.reason = Ending.INTERRUPTED, "the window was closed"
        self.failed_element = ""  # no second graph opens another window
        self.graph.complete_recording()

    def _handle_error(self, message: Any) -> None:
        """Handle the failure of an element; frames that were already drawn are kept."""
        error, debug = message.parse_error()
        debug = self.source.without_credentials(debug or "")
        log.debug("GStreamer: %s (%s)", error.message, debug)
        name = self.graph.failed_element(message)
        no_frames = self.probes.statistics.frames == 0
        if name in ("sink", "muxer"):
            raise UserError(f"{self.output.display_name}: cannot be written: {error.message}")
        if name in self.graph.description.source_elements:
            if no_frames:
                raise UserError(
                    f"{self.source.display_name}: no frame could be decoded: {error.message}"
                )
            if self.source.is_live and self.ending is Ending.COMPLETE:
                self._disconnect(error.message, RETRY_S)
                return
            self._end(Ending.BROKEN_INPUT, error.message)
            return
        reason = f"{self._label(name)}: {error.message}"
        if no_frames:
            raise UserError(f"{reason}: no frame was processed ({debug})")
        self._end(Ending.BROKEN_GRAPH, reason, name)

    def _label(self, name: str) -> str:
        """Return an element's factory and name, such as `nvinferserver (inference)`."""
        if not name:
            return "the graph"
        factory = self.graph.description.element(name).factory
        return factory if name.startswith(factory) else f"{factory} ({name})"

    def _end(self, ending: Ending, reason: str, failed_element: str = "") -> None:
        """End the stream so that the output is completed, bypassing an element that failed."""
        if self.ending is not Ending.COMPLETE:
            if ending is Ending.INTERRUPTED:
                raise KeyboardInterrupt  # a second Ctrl-C stops at once
            return
        if self.graph.live is not None:
            self._count_arrivals()
        self.ending, self.reason, self.failed_element = ending, reason, failed_element
        self.retry_s = math.inf
        self.graph.end(failed_element)

    def _count_arrivals(self) -> None:
        statistics, live = self.probes.statistics, self.graph.live
        if live is None:
            statistics.frames_in = statistics.frames
            return
        # Frames that wait when the run is stopped are neither shown nor lost.
        statistics.frames_in = live.settled
        statistics.frames_lost = live.lost

    def _check_progress(self, bar: Any) -> None:
        frames, now = self.probes.statistics.frames, time.monotonic()
        # Repetitions of the last frame are no progress.
        arrived = self.graph.live.arrived if self.graph.live is not None else frames
        if self.ending is Ending.COMPLETE:  # after the end of the run, frames go nowhere
            self._count_arrivals()
        if frames > self.seen and arrived > self.seen_arriving:
            bar.update(frames - self.seen)
            self.progress_s, self.seen, self.seen_arriving = now, frames, arrived
            self.moved_s = now
        elif now - self.progress_s > self.stall_s:
            self.progress_s = now  # the file gets the same time again to be completed
            self._handle_stall(f"no frame for {self.stall_s:g} s", frames)

    def _handle_stall(self, reason: str, frames: int) -> None:
        if frames == 0 or self.ending is not Ending.COMPLETE:
            raise UserError(f"{self.source.display_name}: {reason} after {frames} frames: stopped")
        if not self.source.is_live:
            self._end(Ending.BROKEN_INPUT, reason)
        elif not self.disconnected:
            self._disconnect(reason, 0)

    def _disconnect(self, reason: str, seconds: float) -> None:
        """Keep the graph running until the source is back: a scope may be unplugged and return."""
        if not self.disconnected:
            log.warning("%s: %s; reconnecting", self.source.display_name, reason)
            self.disconnected, self.arrived = True, math.inf
            self.probes.statistics.source_lost = True
            self.probes.statistics.reconnects += 1
        self.retry_s = min(self.retry_s, time.monotonic() + seconds)

    def _reconnect(self, live: LiveSource) -> None:
        """Open the source again until frames arrive."""
        if live.arrived > self.arrived:
            log.info("%s: reconnected", self.source.display_name)
            self.disconnected, self.retry_s = False, math.inf
            self.probes.statistics.source_lost = False
        elif time.monotonic() > self.retry_s:
            self.retry_s = time.monotonic() + self.stall_s
            live.restart()
            self.arrived = live.arrived

    def _check_length(self) -> None:
        """Report a file that is shorter than its container says, even if no element complains."""
        if self.source.images or self.source.is_live or self.ending is not Ending.COMPLETE:
            return
        if self.source.has_audio and self.graph.element("sound") is None:
            return  # the longer of the two may be the audio, which was not played
        end_ns = max(self.probes.statistics.last_timestamp_ns, self.graph.last_sound_ns)
        end_s = end_ns / Gst.SECOND
        missing = self.source.seconds - end_s
        if missing > max(1.0, MAX_MISSING_SHARE * self.source.seconds):
            self.ending = Ending.BROKEN_INPUT
            self.reason = f"ends after {end_s:.1f} of {self.source.seconds:.1f} s"


def _iterate_main_context() -> None:
    """Run deferred work of elements: nvurisrcbin reconnects from a timeout of the main context."""
    context = GLib.MainContext.default()
    for _ in range(MAX_MAINLOOP_ITERATIONS):
        if not context.iteration(False):
            return
