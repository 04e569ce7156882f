"""Plays a graph to its end: progress, errors, stalls, and the rename of the finished file."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import Any

from tqdm import tqdm

from deepstream.graph.description import Description
from deepstream.graph.pipeline import Graph
from deepstream.gstreamer import GLib, Gst
from deepstream.io.live_source import ENDED, LiveSource
from deepstream.io.output import Output
from deepstream.io.source import Clip
from deepstream.probes.base import Probes
from xpnet.errors import UserError

log = logging.getLogger("xpnet.graph")

INFERENCE = "inference"
"""The name of the element that computes masks within the graph: nvinferserver."""
OnMessage = Callable[[Any], None]
"""Called with a Gst.Message."""
POLL_NS = 50_000_000
TURNS = 100
"""Of the main context in one poll at most: a source that is always ready must not stop the rest."""
STALL_S = 30.0
"""A graph in which no frame moved for this long hangs; a live source that delivered is away."""
RETRY_S = 5.0
"""After which a live source that broke off is opened anew."""
SHORTFALL = 0.05
"""A video that ends more than this share (and a second) before its time was cut off."""


class Ending(Enum):
    """How a run ended; in every case the output is a finished file."""

    COMPLETE = "complete"
    INTERRUPTED = "interrupted"  # by the user
    BROKEN_INPUT = "broken input"  # frames up to the break are in the output
    BROKEN_GRAPH = "broken graph"  # an element gave up, likewise


def play(
    clip: Clip,
    output: Output,
    probes: Probes,
    describe: Callable[[dict[str, str], bool], Description],
    on_message: OnMessage | None = None,
) -> tuple[Ending, str]:
    """Runs `clip` through the probes into `output`; returns how it ended, and why in words.

    `describe` makes the graph's description from the words of the opened output, with inference
    or without. A file grows under a temporary name and gets its own when it is finished.
    `on_message` gets every message of the pipeline's bus, in this thread.

    Where the element of inference gives up, a live picture goes on in a graph without it.

    Raises:
        UserError: no frame came through, the output cannot be written, or the graph hangs.
    """
    with output.opened() as words:
        for inference in (True, False):
            graph = Graph(clip, describe(words, inference), probes)
            player = _Player(graph, probes, output, on_message)
            try:
                ending, reason = player.run()
            finally:
                graph.pipeline.set_state(Gst.State.NULL)
            shown = clip.live and output.kind != "file"  # nobody looks at a file that grows
            if not (shown and player.failed == INFERENCE):
                break
            log.warning("%s; the video goes on without masks", reason)
            probes.statistics.inference_failed(RuntimeError(reason))
    return ending, reason


class _Player:
    def __init__(
        self, graph: Graph, probes: Probes, output: Output, on_message: OnMessage | None
    ) -> None:
        self.graph, self.probes, self.output = graph, probes, output
        self.on_message = on_message
        self.clip = graph.clip
        self.bus = graph.pipeline.get_bus()
        self.ending, self.reason = Ending.COMPLETE, ""
        self.failed = ""  # the element that gave up
        # Between two frames of a slide show the clip's own pause is no stall.
        self.stall_s = STALL_S + (2 / self.clip.fps if self.clip.fps else 0)
        self.moved_s, self.seen = time.monotonic(), probes.statistics.frames
        self.away, self.retry_s, self.arrived = False, math.inf, math.inf

    def run(self) -> tuple[Ending, str]:
        self.graph.pipeline.set_state(Gst.State.PLAYING)
        with tqdm(
            total=self.clip.frames or None,
            unit=" frames",
            desc=Path(self.clip.where).name,
            disable=None,
        ) as bar:
            while not self._finished(bar):
                pass
        if self.probes.statistics.frames == 0:
            reason = self.reason or "the stream ended at once"
            raise UserError(f"{self.clip.where}: no frame could be decoded: {reason}")
        self._check_length()
        return self.ending, self.reason

    def _finished(self, bar: Any) -> bool:
        """Handles what happened in one poll; true at the end of the stream."""
        try:
            message = self.bus.timed_pop(POLL_NS)
            self._tell(message)
            self._watch(bar)
            if self.away and self.graph.live is not None:
                self._bring_back(self.graph.live)
            _turn_main_context()
        except KeyboardInterrupt:
            self._end(Ending.INTERRUPTED, "stopped by the user")
            return False
        if message is None:
            return False
        if message.type == Gst.MessageType.EOS:
            return True
        if message.type == Gst.MessageType.ERROR:
            self._failed(message)
        elif message.has_name(ENDED) and not self.away:
            self.graph.end()  # the source said goodbye
        return False

    def _tell(self, message: Any) -> None:
        """Hands a message on; a mistake of who takes it is told once, and the video goes on."""
        if message is None or self.on_message is None:
            return
        try:
            self.on_message(message)
        except Exception:
            log.exception("on_message failed; it is not called again")
            self.on_message = None

    def _failed(self, message: Any) -> None:
        """An element gave up: what came through before is kept."""
        error, debug = message.parse_error()
        debug = self.clip.redacted(debug or "")
        log.debug("GStreamer: %s (%s)", error.message, debug)
        name, none = self.graph.blamed(message), self.probes.statistics.frames == 0
        if name in ("sink", "muxer"):
            raise UserError(f"{self.output.where}: cannot be written: {error.message}")
        if name in self.graph.description.sources:
            if none:
                raise UserError(f"{self.clip.where}: no frame could be decoded: {error.message}")
            if self.clip.live and self.ending is Ending.COMPLETE:
                self._wait(error.message, RETRY_S)
                return
            self._end(Ending.BROKEN_INPUT, error.message)
            return
        reason = f"{self._called(name)}: {error.message}"
        if none:
            raise UserError(f"{reason}: no frame came through ({debug})")
        self._end(Ending.BROKEN_GRAPH, reason, name)

    def _called(self, name: str) -> str:
        """An element by what it is and what it does, such as `nvinferserver (inference)`."""
        if not name:
            return "the graph"
        factory = self.graph.description.element(name).factory
        return factory if name.startswith(factory) else f"{factory} ({name})"

    def _end(self, ending: Ending, reason: str, failed: str = "") -> None:
        """Finishes the file with the frames that came through, past the element that `failed`."""
        if self.ending is not Ending.COMPLETE:
            if ending is Ending.INTERRUPTED:
                raise KeyboardInterrupt  # a second Ctrl-C: now
            return
        self.ending, self.reason, self.failed = ending, reason, failed
        self.retry_s = math.inf
        self.graph.end(failed)

    def _watch(self, bar: Any) -> None:
        frames, now = self.probes.statistics.frames, time.monotonic()
        if frames > self.seen:
            bar.update(frames - self.seen)
            self.moved_s, self.seen = now, frames
        elif now - self.moved_s > self.stall_s:
            self.moved_s = now  # as long again for a file to be finished
            self._stalled(f"no frame for {self.stall_s:g} s", frames)

    def _stalled(self, reason: str, frames: int) -> None:
        if frames == 0 or self.ending is not Ending.COMPLETE:
            raise UserError(f"{self.clip.where}: {reason} after {frames} frames: given up")
        if not self.clip.live:
            self._end(Ending.BROKEN_INPUT, reason)
        elif not self.away:
            self._wait(reason, 0)

    def _wait(self, reason: str, seconds: float) -> None:
        """A scope that is unplugged between two patients comes back: the graph stays up."""
        if not self.away:
            log.warning("%s: %s; waiting until it is back", self.clip.where, reason)
            self.away, self.arrived = True, math.inf
        self.retry_s = min(self.retry_s, time.monotonic() + seconds)

    def _bring_back(self, live: LiveSource) -> None:
        """Opens the source again and again, until frames arrive."""
        if live.arrived > self.arrived:
            log.info("%s: is back", self.clip.where)
            self.away, self.retry_s = False, math.inf
        elif time.monotonic() > self.retry_s:
            self.retry_s = time.monotonic() + self.stall_s
            live.restart()
            self.arrived = live.arrived

    def _check_length(self) -> None:
        """A container that promised more than came was cut off, even where no element says so."""
        if self.clip.images or self.clip.live or self.ending is not Ending.COMPLETE:
            return
        if self.clip.has_audio and self.graph.element("sound") is None:
            return  # the longer of the two may be the sound, which nobody measured
        got = max(self.probes.statistics.last_timestamp_ns, self.graph.last_sound_ns) / Gst.SECOND
        missing = self.clip.seconds - got
        if missing > max(1.0, SHORTFALL * self.clip.seconds):
            self.ending = Ending.BROKEN_INPUT
            self.reason = f"ends after {got:.1f} of {self.clip.seconds:.1f} s"


def _turn_main_context() -> None:
    """Lets elements do what they put off: nvurisrcbin reconnects from a timeout there."""
    context = GLib.MainContext.default()
    for _ in range(TURNS):
        if not context.iteration(False):
            return
