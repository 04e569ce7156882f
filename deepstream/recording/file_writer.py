"""Writes H.264 frames into a Matroska file, in a pipeline of its own.

The picture's pipeline has no file in it: a disk that fails or hangs cannot hold it up. What has
been written of a Matroska file can be played at any moment: a power cut costs the last second.
"""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path
from typing import Any

from deepstream.gstreamer import Gst
from deepstream.recording.files import CUT_OFF, UNFINISHED
from xpnet.errors import UserError

FINISH_S = 5.0
MAX_PENDING = 64 * 2**20
"""Bytes that may wait for the disk: a minute of video."""
SYNC_S = 1.0
"""Time between two requests that the disk keeps what was written."""
_COPY = Gst.BufferCopyFlags.FLAGS | Gst.BufferCopyFlags.MEMORY
LAUNCH = (
    "appsrc name=frames format=time ! matroskamux offset-to-zero=true ! "
    "filesink name=file buffer-mode=unbuffered sync=false async=false"
)


class FileWriter:
    """One file; it has its final name when it is finished.

    Args:
        path: The final name; ends in .mkv.
        caps: The Gst.Caps of the frames.

    Attributes:
        path: The final name.
        frames: Number of frames written.
    """

    def __init__(self, path: Path, caps: Any) -> None:
        self.path, self.frames = path, 0
        self._partial = path.with_name(path.name.removesuffix(".mkv") + UNFINISHED)
        self._synced_s = time.monotonic()
        # Made here, so that it is private from its first byte, and an error is known at once.
        try:
            os.close(os.open(self._partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        except OSError as error:
            raise UserError(f"{path}: cannot be written: {error.strerror}") from error
        self._pipeline = Gst.parse_launch(LAUNCH)
        self._pipeline.get_by_name("file").set_property("location", str(self._partial))
        self._frames = self._pipeline.get_by_name("frames")
        self._frames.set_property("caps", caps)
        self._pipeline.set_state(Gst.State.PLAYING)

    def write(self, frame: Any) -> None:
        """Write a frame.

        Args:
            frame: Its Gst.Buffer; not changed.

        Raises:
            UserError: The disk is full, fails, or is too slow.
        """
        copy = frame.copy_region(_COPY, 0, frame.get_size())
        copy.pts, copy.dts, copy.duration = frame.pts, frame.dts, frame.duration
        self._frames.emit("push-buffer", copy)
        self.frames += 1
        self._check(0)
        if self._frames.get_property("current-level-bytes") > MAX_PENDING:
            raise UserError(f"{self.path}: the disk is too slow")
        if time.monotonic() - self._synced_s > SYNC_S:
            self._synced_s = time.monotonic()
            self._sync()

    def wait_for_disk(self) -> None:
        """Wait until at most half of MAX_PENDING waits, or for FINISH_S; `write` then decides."""
        until = time.monotonic() + FINISH_S
        while self._frames.get_property("current-level-bytes") > MAX_PENDING // 2:
            if time.monotonic() > until:
                return
            time.sleep(0.01)

    def finish(self) -> Path:
        """Complete the file, and give it its final name.

        Returns:
            The path; one that ends in CUT_OFF if the file could not be completed.

        Raises:
            UserError: Nothing could be written.
        """
        self._frames.emit("end-of-stream")
        try:
            self._check(round(FINISH_S * Gst.SECOND))
            final = self.path
        except UserError:
            final = self.path.with_name(self.path.name.removesuffix(".mkv") + CUT_OFF)
        self.close()
        try:
            if self._partial.stat().st_size == 0:
                self._partial.unlink()
                raise UserError(f"{self.path}: nothing could be written")
            self._sync()
            self._partial.replace(final)
        except OSError as error:
            raise UserError(f"{self.path}: cannot be written: {error.strerror}") from error
        return final

    def close(self) -> None:
        """Release the pipeline; the file stays as it is."""
        self._pipeline.set_state(Gst.State.NULL)

    def _sync(self) -> None:
        with contextlib.suppress(OSError):  # a broken disk is reported by the next frame
            handle = os.open(self._partial, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)

    def _check(self, wait_ns: int) -> None:
        """Raise UserError if an element failed; with a time to wait, or if no end is reached."""
        kinds = Gst.MessageType.ERROR | Gst.MessageType.EOS
        message = self._pipeline.get_bus().timed_pop_filtered(wait_ns, kinds)
        if message is not None and message.type == Gst.MessageType.ERROR:
            error, _ = message.parse_error()
            raise UserError(f"{self.path}: cannot be written: {error.message}")
        if message is None and wait_ns:
            raise UserError(f"{self.path}: was not completed within {FINISH_S:g} s")
