"""Compares pictures with the assistant on and off, sample by sample, outside the marks."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import cv2
import numpy as np
from numpy.typing import NDArray

from deepstream.bench.measured_probes import AS_RUN, with_probes
from deepstream.control.appearance import Appearance
from deepstream.control.controls import Controls
from deepstream.graph.description import ProbePoint
from deepstream.graph.pipeline import describe_graph
from deepstream.io.output import parse_output
from deepstream.io.source import open_clip
from deepstream.player import play
from deepstream.probes.pixels import mapped_frame, timestamp_ns
from deepstream.probes.triton_probe import EveryProbes
from deepstream.probes.video_frame import FormatReader
from xpnet.errors import UserError
from xpnet.frames import Mask, Segmentation
from xpnet.inference import Inference
from xpnet.overlay import contour_thickness
from xpnet.platforms import GSTREAMER

Planes = list[NDArray[Any]]
"""The planes of a frame as they are in the buffer, valid during a call only."""


def mark_margin(height: int) -> int:
    """Return by how many pixels a mark may exceed its mask.

    A contour is drawn on the mask's edge; of chroma, one sample is two pixels.

    Args:
        height: Height of the frames in pixels.
    """
    return contour_thickness(height) + 4


class SeenProbes(EveryProbes):
    """Mode `every`, with every frame passed on as it leaves the decoder and arrives at the sink."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.on_decoded: Callable[[int, Planes], None] | None = None
        self.on_shown: Callable[[int, Planes], None] | None = None
        self._decoded_format, self._shown_format = FormatReader(), FormatReader()

    def frame_decoded(self, pad: Any, info: Any) -> None:
        """Pass on a frame of the decoder."""
        self._pass(pad, info, self._decoded_format, self.on_decoded)

    def frame_at_sink(self, pad: Any, info: Any) -> None:
        """Pass on a frame as it is shown."""
        self._pass(pad, info, self._shown_format, self.on_shown)

    def _pass(
        self, pad: Any, info: Any, reader: FormatReader, receiver: Callable[..., None] | None
    ) -> None:
        stamp = timestamp_ns(info)
        if receiver is not None and stamp is not None:
            with mapped_frame(info, reader.read(pad)) as frame:
                receiver(stamp, frame.arrays)


POINTS = (
    ProbePoint("decoded", "sink", "frame_decoded"),
    ProbePoint("sink", "sink", "frame_at_sink"),
)


def play_seen(
    clip: Path,
    inference: Inference,
    appearance: Appearance,
    on_mask: Callable[[Segmentation], None] | None = None,
    on_decoded: Callable[[int, Planes], None] | None = None,
    on_shown: Callable[[int, Planes], None] | None = None,
) -> int:
    """Play a clip through the graph without an encoder, each frame with its own mask.

    Args:
        clip: A video file.
        inference: Computes the masks.
        appearance: What is drawn.
        on_mask: Called with every mask drawn.
        on_decoded: Called with timestamp and planes of every decoded frame.
        on_shown: Called with timestamp and planes of every frame at the sink.

    Returns:
        Number of frames.

    Raises:
        UserError: The clip cannot be played, or a frame got no mask.
    """
    source, output = open_clip(clip, 25), parse_output("none")
    probes = SeenProbes(source.height, source.width, inference, Controls(appearance), on_mask)
    probes.on_decoded, probes.on_shown = on_decoded, on_shown
    play(
        source,
        output,
        probes,
        lambda sink, _: with_probes(describe_graph(GSTREAMER, source, "none", sink), POINTS),
    )
    found = probes.statistics
    if found.probe_error or found.frames_without_mask:
        reason = found.probe_error or found.inference_failure
        raise UserError(f"{clip}: {found.frames_without_mask} frames without a mask: {reason}")
    return found.frames


def compare_pixels(clip: Path, inference: Inference) -> dict[str, Any]:
    """Compare every frame with the assistant on and off, before any encoder.

    Args:
        clip: A video file.
        inference: Computes the masks.

    Returns:
        `frames`, `frames_with_mark`, `samples_outside` and of them `different_outside`,
        `different_inside`, `margin_pixels`, and `frames_as_decoded`: frames that with the assistant
        off are the decoder's own, byte by byte.

    Raises:
        UserError: As `play_seen`.
    """
    with tempfile.NamedTemporaryFile(prefix="xpnet-pixels-") as stream:
        off = _Off(stream)
        play_seen(clip, inference, replace(AS_RUN, enabled=False), None, off.decoded, off.shown)
        on = _On(stream, off.places)
        frames = play_seen(clip, inference, AS_RUN, on.mask, None, on.shown)
    if frames != len(off.places):
        raise UserError(f"{clip}: {len(off.places)} frames with the assistant off, {frames} on")
    return {
        "clip": clip.name,
        "frames": frames,
        "frames_as_decoded": off.as_decoded,
        **on.counts,
        "margin_pixels": on.margin,
    }


class _Off:
    """The run without marks: keeps its frames in a file, and compares them with the decoder's."""

    def __init__(self, stream: BinaryIO | Any) -> None:
        self._stream, self._digests = stream, dict[int, bytes]()
        self.places: dict[int, int] = {}
        self.as_decoded = 0

    def decoded(self, stamp: int, planes: Planes) -> None:
        self._digests[stamp] = hashlib.sha256(_bytes(planes)).digest()

    def shown(self, stamp: int, planes: Planes) -> None:
        data = _bytes(planes)
        self.as_decoded += self._digests.pop(stamp, b"") == hashlib.sha256(data).digest()
        self.places[stamp] = self._stream.tell()
        self._stream.write(data)


class _On:
    """The run with marks: compares each frame with that of the other run."""

    def __init__(self, stream: BinaryIO | Any, places: dict[int, int]) -> None:
        self._stream, self._places = stream, places
        self._masks: dict[int | None, Mask] = {}
        self.margin = 0
        names = ("frames_with_mark", "samples_outside", "different_outside", "different_inside")
        self.counts = dict.fromkeys(names, 0)

    def mask(self, segmentation: Segmentation) -> None:
        self._masks[segmentation.timestamp_ns] = segmentation.mask

    def shown(self, stamp: int, planes: Planes) -> None:
        mask = self._masks.pop(stamp)
        self._stream.seek(self._places[stamp])
        self.margin = mark_margin(mask.shape[0])
        side = 2 * self.margin + 1
        marked = cv2.dilate(mask, np.ones((side, side), np.uint8))
        self.counts["frames_with_mark"] += int(mask.any())
        for plane in planes:
            data = self._stream.read(plane.nbytes)
            before = np.frombuffer(data, plane.dtype).reshape(plane.shape)
            down = -(-mask.shape[0] // plane.shape[0])
            across = -(-mask.shape[1] // plane.shape[1])
            outside = marked[::down, ::across] == 0
            different = before != plane
            if different.ndim == 3:
                different = different.any(axis=2)
            self.counts["samples_outside"] += int(outside.sum())
            self.counts["different_outside"] += int((different & outside).sum())
            self.counts["different_inside"] += int((different & ~outside).sum())


def _bytes(planes: Planes) -> bytes:
    return b"".join(np.ascontiguousarray(plane).tobytes() for plane in planes)
