"""Records the picture as it is shown: on request, or the last seconds from memory.

The graph's branch encodes and hands frames over; a thread of its own writes them. The branch, its
queue and this thread may fall behind or fail; the picture does not wait for any of them.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deepstream.gstreamer import Gst, GstVideo
from deepstream.io.queue_losses import QueueLosses
from deepstream.probes.pixels import buffer_address
from deepstream.recording import files
from deepstream.recording.file_writer import FileWriter
from deepstream.recording.ring import Ring
from deepstream.statistics import RunStatistics
from xpnet.errors import UserError
from xpnet.files import write_bytes

log = logging.getLogger("xpnet.recording")

MAX_RING_S = 300
MAX_WAITING = 500
"""Encoded frames that may wait for the disk: twenty seconds at 25 frames a second."""
CHECK_S = 1.0
REC, FAILED = "REC", "RECORDING FAILED"
"""Signs on the picture."""


@dataclass(frozen=True)
class RecordSettings:
    """What may be recorded, and where.

    Attributes:
        folder: Where recordings and stills go.
        ring_s: Seconds that are kept in memory, to be written on request; 0 keeps nothing.
        reserve_mib: MiB of the disk that stay free.
        at_start: Whether to record from the first frame.

    Raises:
        UserError: A value is out of range.
    """

    folder: Path
    ring_s: float = 0.0
    reserve_mib: int = 1024
    at_start: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.ring_s <= MAX_RING_S:
            raise UserError(f"--ring {self.ring_s:g}: expected 0 to {MAX_RING_S} s")
        if self.reserve_mib < 0:
            raise UserError(f"--record-reserve {self.reserve_mib}: expected 0 or more MiB")


class Recorder:
    """What is recorded of one run; all methods are safe in any thread.

    Args:
        settings: What may be recorded.
        free_bytes: Returns the free space of a folder's disk.

    Raises:
        UserError: The folder cannot be used.
    """

    def __init__(
        self, settings: RecordSettings, free_bytes: Callable[[Path], int] = files.free_bytes
    ) -> None:
        files.open_folder(settings.folder)
        self.settings, self._free_bytes = settings, free_bytes
        self._reserve = settings.reserve_mib * files.MEBIBYTE
        self._lock = threading.Condition()
        self._naming, self._showing = threading.Lock(), threading.Lock()
        self._free = self._measure_space()
        self._waiting: deque[tuple[Any, Any]] = deque()  # encoded frames with their caps
        self._ring = Ring(settings.ring_s)
        self._keep = False
        self._wanted = settings.at_start
        self._writer: FileWriter | None = None
        self._started_s = 0.0
        self._failure, self._failures, self._left_out = "", 0, 0
        self._last_file = ""
        self._queues: list[QueueLosses] = []  # one for each graph
        self._valve: Any = None
        self._encoder: Any = None
        self._statistics = RunStatistics()
        self._closing = False
        self._thread = threading.Thread(target=self._work, name="recorder", daemon=True)
        self._thread.start()

    def attach(self, pipeline: Any, statistics: RunStatistics) -> None:
        """Take frames from the branch of a graph.

        Args:
            pipeline: A Gst.Pipeline with the elements `recorded_valve`, `recorded_encoder` and
                `recorded_frames`.
            statistics: Gets the sign that the picture shows.
        """
        self._statistics = statistics
        self._valve = pipeline.get_by_name("recorded_valve")
        self._encoder = pipeline.get_by_name("recorded_encoder")
        queue = pipeline.get_by_name("recorded_queue")
        losses = QueueLosses(queue.props.max_size_buffers)
        self._queues.append(losses)
        for pad, count in (("sink", losses.arrive), ("src", losses.leave)):
            queue.get_static_pad(pad).add_probe(Gst.PadProbeType.BUFFER, _counting(count))
        pipeline.get_by_name("recorded_frames").connect("new-sample", self._take)
        self._show()

    def start(self) -> None:
        """Start a recording; nothing happens if one is running.

        Raises:
            UserError: The disk is full, or cannot be read.
        """
        self._check_space()
        with self._lock:
            self._wanted, self._failure = True, ""
            self._lock.notify()
        self._show()

    def stop(self) -> None:
        """Stop the recording; its file is complete soon after."""
        with self._lock:
            self._wanted = False
            self._lock.notify()
        self._show()

    def keep(self) -> None:
        """Write the last seconds to a file of their own.

        Raises:
            UserError: None are kept, or the disk is full.
        """
        if not self.settings.ring_s:
            raise UserError("the last seconds are not kept: expected --ring SECONDS")
        self._check_space()
        with self._lock:
            self._keep = True
            self._lock.notify()

    def save_still(self, png: bytes) -> str:
        """Write a picture.

        Args:
            png: A PNG file.

        Returns:
            The file's name.

        Raises:
            UserError: The disk is full, or the file cannot be written.
        """
        self._check_space()
        with self._naming:
            path = files.new_name(self.settings.folder, "still", ".png")
            write_bytes(path, png, private=True)
        return path.name

    def status(self) -> dict[str, Any]:
        """Return the state for JSON."""
        with self._lock:
            running = self._wanted or self._writer is not None
            seconds = time.monotonic() - self._started_s if self._writer is not None else 0.0
            return {
                "recording": running,
                "seconds": round(seconds, 1),
                "ring_seconds": self.settings.ring_s,
                "frames_left_out": self._left_out + sum(q.lost for q in self._queues),
                "failure": self._failure,
                "failures": self._failures,
                "last_file": self._last_file,
                "disk_free_bytes": self._free,
            }

    def close(self) -> None:
        """Complete what is being written, at the end of the run."""
        with self._lock:
            self._wanted, self._closing = False, True
            self._lock.notify()
        self._thread.join(timeout=4 * CHECK_S + 10)

    def _measure_space(self) -> int | None:
        """Return the free space, or None if the disk cannot be read."""
        try:
            return self._free_bytes(self.settings.folder)
        except OSError:
            return None

    def _check_space(self) -> None:
        """Raise UserError if the disk is full, or its folder is gone."""
        folder = self.settings.folder
        try:
            free = self._free_bytes(folder)
        except OSError as error:
            raise UserError(f"{folder}: {error.strerror}") from error
        files.check_space(folder, free, self._reserve)

    def _take(self, sink: Any) -> Any:
        """Take an encoded frame from the branch, in its thread."""
        sample = sink.emit("pull-sample")
        if sample is not None:
            full = False
            with self._lock:
                if len(self._waiting) < MAX_WAITING:
                    self._waiting.append((sample.get_buffer(), sample.get_caps()))
                else:
                    self._left_out += 1
                    full = self._wanted  # the thread that writes may never come back to say it
                    if full:
                        self._wanted, self._failures = False, self._failures + 1
                        self._failure = "the disk is too slow"
                self._lock.notify()
            if full:
                self._show()
        return Gst.FlowReturn.OK

    def _show(self) -> None:
        """Set what the picture shows, and let frames into the branch if they are needed."""
        with self._showing:  # of two threads, the last one must see the last state
            self._show_now()

    def _show_now(self) -> None:
        sign = FAILED if self._failure else REC if self._wanted else ""
        self._statistics.recording_sign = sign
        if self._valve is None:
            return
        closed = not (self._wanted or self._writer is not None or self.settings.ring_s)
        if self._valve.get_property("drop") != closed:
            self._valve.set_property("drop", closed)
        if self._wanted and self._writer is None:
            event = GstVideo.video_event_new_upstream_force_key_unit(Gst.CLOCK_TIME_NONE, True, 0)
            self._encoder.get_static_pad("src").send_event(event)

    def _work(self) -> None:
        """Write frames until the run ends; every failure ends the recording, and nothing else."""
        checked_s = measured_s = time.monotonic()
        while True:
            with self._lock:
                if not (self._waiting or self._keep or self._closing or self._is_stopping()):
                    self._lock.wait(CHECK_S / 4)
                frames = list(self._waiting)
                self._waiting.clear()
                keep, self._keep = self._keep, False
                closing = self._closing
            if time.monotonic() - measured_s > CHECK_S:
                # Not where the state is asked for: a disk that hangs holds up this thread only.
                measured_s, self._free = time.monotonic(), self._measure_space()
            try:
                for buffer, caps in frames:
                    self._frame(buffer, caps)
                if keep:
                    self._keep_ring()
                if self._writer is not None and time.monotonic() - checked_s > CHECK_S:
                    checked_s = time.monotonic()
                    self._check_space()
                if self._is_stopping():
                    self._finish()
            except Exception as error:
                self._fail(error)
            if closing:
                return

    def _is_stopping(self) -> bool:
        return self._writer is not None and not self._wanted

    def _frame(self, buffer: Any, caps: Any) -> None:
        is_key = not buffer.has_flags(Gst.BufferFlags.DELTA_UNIT)
        if self.settings.ring_s:
            self._ring.add(buffer, caps)
        if self._wanted and self._writer is None and is_key:
            path = files.new_name(self.settings.folder, "recording", ".mkv")
            self._writer, self._started_s = FileWriter(path, caps), time.monotonic()
            log.warning("recording %s", path)
        if self._writer is not None:
            self._writer.write(buffer)

    def _keep_ring(self) -> None:
        """Write the ring; a failure does not end a recording that runs."""
        try:
            self._write_ring()
        except Exception as error:
            with self._lock:
                self._failure, self._failures = str(error), self._failures + 1
            log.error("the last seconds were not kept: %s", error)
            self._show()

    def _write_ring(self) -> None:
        frames = self._ring.frames()
        if not frames:
            raise UserError("no seconds are kept yet")
        writer = FileWriter(files.new_name(self.settings.folder, "kept", ".mkv"), self._ring.caps)
        try:
            for buffer in frames:
                writer.wait_for_disk()  # memory is faster
                writer.write(buffer)
        finally:
            self._last_file = writer.finish().name
        log.warning("kept %s", self._last_file)

    def _finish(self) -> None:
        """Complete the file; until then the state says that a recording runs."""
        writer = self._writer
        try:
            if writer is not None:
                self._last_file = writer.finish().name
                log.warning("recorded %s: %d frames", self._last_file, writer.frames)
        finally:
            self._writer = None
            self._show()

    def _fail(self, error: Exception) -> None:
        """End the recording; what was written stays."""
        with self._lock:
            self._wanted = False
            self._failure, self._failures = str(error), self._failures + 1
        log.error("recording ended: %s", error)
        try:
            self._finish()
        except Exception as again:
            log.error("%s", again)
        self._show()


def _counting(count: Callable[[int], None]) -> Callable[[Any, Any], Any]:
    """Return a probe that passes the address of each buffer on."""

    def probe(_pad: Any, info: Any) -> Any:
        count(buffer_address(info))
        return Gst.PadProbeReturn.OK

    return probe
