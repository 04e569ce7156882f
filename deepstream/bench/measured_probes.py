"""The probes of a run with further ones that measure: decoder, encoder, time code, copies."""

from __future__ import annotations

import ctypes
import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from deepstream.bench.time_code import now_ticks, read_code, seconds_since, write_code
from deepstream.control.appearance import Appearance
from deepstream.graph.description import Description, ProbePoint
from deepstream.gstreamer import Gst
from deepstream.probes.pixels import buffer_address, mapped_frame, timestamp_ns
from deepstream.probes.triton_probe import EveryProbes, LatestProbes, MaskProbes
from deepstream.probes.video_frame import FormatReader
from deepstream.statistics import TimeLog
from xpnet.scope_region import AUTO

MAX_DELAY_S = 30.0
"""A longer delay than that is a time code that was read wrongly."""
AS_RUN = Appearance(smoothing=True, confirmation=True, region=AUTO)
"""What `xpnet run` draws on a video by default, without signs."""
COPY_FRAMES = 60
"""Frames whose memory is followed."""


class Measuring(MaskProbes):
    """Times and counts of a run beyond its statistics.

    Attributes:
        decode_s: From a packet's arrival at the decoder until a frame leaves it.
        encode_s: From a frame's arrival at the encoder until a packet leaves it.
        glass_s: Age of the time code when a frame arrives at the sink.
        unreadable: Frames whose time code could not be read.
        memory: For each of the first frames, by timestamp: the address of its pixels on each pad.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.decode_s, self.encode_s, self.glass_s = TimeLog(), TimeLog(), TimeLog()
        self.unreadable = 0
        self.memory: dict[int, dict[str, int]] = defaultdict(dict)
        self._packet_s = self._frame_s = 0.0
        self._formats = {name: FormatReader() for name in ("made", "seen")}
        self._decoder: Any = None

    def decoder_works(self, pad: Any, _info: Any) -> None:
        """Find the decoder at the first frame that it delivers, and add its two probes."""
        if self._decoder is not None:
            return
        self._decoder = find_decoder(_pipeline_of(pad))
        if self._decoder is None:
            raise RuntimeError("no video decoder in the source")
        for name, handler in (("sink", "packet_arrives"), ("src", "frame_decoded")):
            port = self._decoder.get_static_pad(name)
            port.add_probe(Gst.PadProbeType.BUFFER, self.guarded(handler))

    def packet_arrives(self, _pad: Any, _info: Any) -> None:
        """Note when a packet arrives at the decoder; the same thread calls `frame_decoded`."""
        self._packet_s = time.monotonic()

    def frame_decoded(self, _pad: Any, _info: Any) -> None:
        """Note how long the decoder's call took until a frame left it."""
        if self._packet_s:
            self.decode_s.append(time.monotonic() - self._packet_s)
        self._packet_s = 0.0

    def encoder_entered(self, _pad: Any, _info: Any) -> None:
        """Note when a frame arrives at the encoder; the same thread calls `packet_leaves`."""
        self._frame_s = time.monotonic()

    def packet_leaves(self, _pad: Any, _info: Any) -> None:
        """Note how long the encoder's call took until a packet left it."""
        if self._frame_s:
            self.encode_s.append(time.monotonic() - self._frame_s)
        self._frame_s = 0.0

    def frame_made(self, pad: Any, info: Any) -> None:
        """Draw the time into a frame that leaves the source."""
        with mapped_frame(info, self._formats["made"].read(pad), write=True) as frame:
            write_code(frame.arrays[0], now_ticks())

    def frame_seen(self, pad: Any, info: Any) -> None:
        """Read the time in a frame that arrives at the sink."""
        with mapped_frame(info, self._formats["seen"].read(pad)) as frame:
            ticks = read_code(frame.arrays[0])
        age = None if ticks is None else seconds_since(ticks)
        if age is None or age > MAX_DELAY_S:
            self.unreadable += 1
        else:
            self.glass_s.append(age)

    def memory_seen(self, pad: Any, info: Any) -> None:
        """Note where the pixels of a frame are when it arrives at a pad."""
        stamp = timestamp_ns(info)
        if stamp is None or (stamp not in self.memory and len(self.memory) >= COPY_FRAMES):
            return
        self.memory[stamp][pad.get_parent_element().get_name()] = pixels_address(info)


class EveryMeasured(Measuring, EveryProbes):
    """Mode `every`, measured."""


class LatestMeasured(Measuring, LatestProbes):
    """Mode `latest`, measured."""


MEASURED: dict[str, type[Measuring]] = {"every": EveryMeasured, "latest": LatestMeasured}


def with_probes(description: Description, points: Iterable[ProbePoint]) -> Description:
    """Return a description with further probes, as far as it has their elements.

    Args:
        description: A graph.
        points: Probes to add behind its own.
    """
    names = {row.name for row in description.elements}
    added = [point for point in points if point.element in names]
    return replace(description, probes=(*description.probes, *added))


PARTS = (
    ProbePoint("input", "sink", "decoder_works"),
    ProbePoint("encoder", "sink", "encoder_entered"),
    ProbePoint("encoder", "src", "packet_leaves"),
)
"""Probes that time decoder and encoder."""
FROM_SOURCE = ProbePoint("pacing", "src", "frame_made")
TO_SINK = ProbePoint("sink", "sink", "frame_seen")


def memory_points(description: Description) -> list[ProbePoint]:
    """Return a probe for each pad that frames arrive at, from the source to encoder or sink."""
    encoded = {row.name for row in description.elements} - description.upstream(
        "encoder" if any(row.name == "encoder" for row in description.elements) else "sink"
    )
    branch = {"newest", "inference"}
    return [
        ProbePoint(link.target, "sink", "memory_seen")
        for link in description.links
        if link.target not in encoded - branch and link.media != "audio"
    ]


def count_copies(memory: dict[int, dict[str, int]], description: Description) -> dict[str, Any]:
    """Return at which elements the pixels of a frame get another address.

    An element, or a probe on it, that writes a frame's pixels anew makes a copy; a conversion is
    one, too. Compared are the addresses on the pads of two linked elements. What happens inside the
    decoder, the encoder and a sink cannot be seen.

    Args:
        memory: `Measuring.memory`.
        description: The graph of the run.

    Returns:
        `frames`, `copies` (mean of a frame) and `where`: mean copies by element.
    """
    found: dict[str, int] = defaultdict(int)
    complete = [pads for pads in memory.values() if len(pads) == max(map(len, memory.values()))]
    for pads in complete:
        for link in description.links:
            if link.source in pads and link.target in pads:
                found[link.source] += pads[link.source] != pads[link.target]
    frames = max(1, len(complete))
    where = {name: round(count / frames, 2) for name, count in found.items() if count}
    return {"frames": len(complete), "copies": round(sum(where.values()), 2), "where": where}


class _MemoryMap(ctypes.Structure):
    """First fields of GstMapInfo (gst/gstmemory.h), and room for the rest."""

    _fields_ = [
        ("memory", ctypes.c_void_p),
        ("flags", ctypes.c_int),
        ("data", ctypes.c_void_p),
        ("rest", ctypes.c_void_p * 12),
    ]


_gst = ctypes.CDLL("libgstreamer-1.0.so.0")
_gst.gst_buffer_peek_memory.restype = ctypes.c_void_p
_gst.gst_buffer_peek_memory.argtypes = [ctypes.c_void_p, ctypes.c_uint]
_gst.gst_memory_map.restype = ctypes.c_int
_gst.gst_memory_map.argtypes = [ctypes.c_void_p, ctypes.POINTER(_MemoryMap), ctypes.c_int]
_gst.gst_memory_unmap.argtypes = [ctypes.c_void_p, ctypes.POINTER(_MemoryMap)]


def pixels_address(info: Any) -> int:
    """Return where the first memory of a probe's buffer has its data; 0 if it cannot be mapped."""
    memory = _gst.gst_buffer_peek_memory(buffer_address(info), 0)
    mapping = _MemoryMap()
    if not memory or not _gst.gst_memory_map(memory, ctypes.byref(mapping), 1):
        return 0
    address = int(mapping.data or 0)
    _gst.gst_memory_unmap(memory, ctypes.byref(mapping))
    return address


def find_decoder(container: Any) -> Any | None:
    """Return the first video decoder inside a bin, or None."""
    found: list[Any] = []

    def check(element: Any) -> None:
        factory = element.get_factory()
        kind = factory.get_metadata("klass") if factory is not None else ""
        if "Decoder" in kind and "Video" in kind:
            found.append(element)

    elements = container.iterate_recurse()
    while (step := elements.next())[0] == Gst.IteratorResult.OK:
        check(step[1])
    return found[0] if found else None


def _pipeline_of(pad: Any) -> Any:
    element = pad.get_parent_element()
    while (parent := element.get_parent()) is not None:
        element = parent
    return element
