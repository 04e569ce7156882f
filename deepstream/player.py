"""Plays a graph to its end: progress, errors, stalls, and the rename of the finished file."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import Any

from tqdm import tqdm

from deepstream.description import Description
from deepstream.graph import Graph
from deepstream.gstreamer import Gst
from deepstream.guard import Probes
from deepstream.output import Output
from deepstream.source import Clip
from xpnet.errors import UserError

log = logging.getLogger("xpnet.graph")

POLL_NS = 50_000_000
STALL_S = 30.0
"""A graph in which no frame moved for this long hangs."""
SHORTFALL = 0.05
"""A video that ends more than this share (and a second) before its time was cut off."""


class Ending(Enum):
    """How a run ended; in every case the output is a finished file."""

    COMPLETE = "complete"
    INTERRUPTED = "interrupted"  # by the user
    BROKEN_INPUT = "broken input"  # frames up to the break are in the output


def play(
    clip: Clip,
    output: Output,
    probes: Probes,
    describe: Callable[[dict[str, str]], Description],
) -> tuple[Ending, str]:
    """Runs `clip` through the probes into `output`; returns how it ended, and why in words.

    `describe` makes the graph's description from the words of the opened output. A file grows
    under a temporary name and gets its own when it is finished.

    Raises:
        UserError: no frame could be decoded, the output cannot be written, or the graph hangs.
    """
    with output.opened() as words:
        player = _Player(Graph(clip, describe(words), probes), probes, output)
        try:
            return player.run()
        finally:
            player.graph.pipeline.set_state(Gst.State.NULL)


class _Player:
    def __init__(self, graph: Graph, probes: Probes, output: Output) -> None:
        self.graph, self.probes, self.output = graph, probes, output
        self.clip = graph.clip
        self.bus = graph.pipeline.get_bus()
        self.ending, self.reason = Ending.COMPLETE, ""
        # Between two frames of a slide show the clip's own pause is no stall.
        self.stall_s = STALL_S + (2 / self.clip.fps if self.clip.fps else 0)
        self.moved_s, self.seen = time.monotonic(), 0

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
            message = self.bus.timed_pop_filtered(
                POLL_NS, Gst.MessageType.ERROR | Gst.MessageType.EOS
            )
            self._watch(bar)
        except KeyboardInterrupt:
            self._end(Ending.INTERRUPTED, "stopped by the user")
            return False
        if message is None:
            return False
        if message.type == Gst.MessageType.EOS:
            return True
        error, debug = message.parse_error()
        log.debug("GStreamer: %s (%s)", error.message, debug)
        if message.src is self.graph.element("sink"):
            raise UserError(f"{self.output.where}: cannot be written: {error.message}")
        if not self.graph.blames_source(message):
            raise RuntimeError(f"{message.src.get_name()}: {error.message} ({debug})")
        if self.probes.statistics.frames == 0:
            raise UserError(f"{self.clip.where}: no frame could be decoded: {error.message}")
        self._end(Ending.BROKEN_INPUT, error.message)
        return False

    def _end(self, ending: Ending, reason: str) -> None:
        """Finishes the file with the frames that came through."""
        if self.ending is not Ending.COMPLETE:
            if ending is Ending.INTERRUPTED:
                raise KeyboardInterrupt  # a second Ctrl-C: now
            return
        self.ending, self.reason = ending, reason
        self.graph.end()

    def _watch(self, bar: Any) -> None:
        frames, now = self.probes.statistics.frames, time.monotonic()
        if frames > self.seen:
            bar.update(frames - self.seen)
            self.moved_s, self.seen = now, frames
        elif now - self.moved_s > self.stall_s:
            reason = f"no frame for {self.stall_s:g} s"
            if frames == 0 or self.ending is not Ending.COMPLETE:
                raise UserError(f"{self.clip.where}: {reason} after {frames} frames: given up")
            self.moved_s = now  # as long again for the file to be finished
            self._end(Ending.BROKEN_INPUT, reason)

    def _check_length(self) -> None:
        """A container that promised more than came was cut off, even where no element says so."""
        if self.clip.images or self.clip.live or self.ending is not Ending.COMPLETE:
            return
        got = max(self.probes.statistics.last_timestamp_ns, self.graph.last_sound_ns) / Gst.SECOND
        missing = self.clip.seconds - got
        if missing > max(1.0, SHORTFALL * self.clip.seconds):
            self.ending = Ending.BROKEN_INPUT
            self.reason = f"ends after {got:.1f} of {self.clip.seconds:.1f} s"
