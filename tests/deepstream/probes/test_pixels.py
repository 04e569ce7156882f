"""Writing in a probe on real GStreamer buffers: in place, and in the right buffer only."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from deepstream.gstreamer import Gst
from deepstream.probes.pixels import mapped_frame, timestamp_ns
from deepstream.probes.video_frame import FormatReader, read_format

pytestmark = pytest.mark.integration


def pulled(sink: Any, height: int, width: int) -> list[np.ndarray]:
    """Return all frames of an appsink without padding."""
    frames = []
    while (sample := sink.emit("pull-sample")) is not None:
        data = sample.get_buffer().extract_dup(0, sample.get_buffer().get_size())
        frames.append(np.frombuffer(data, np.uint8).reshape(height, width, 4))
    return frames


def play(description: str, name: str, probe: Any) -> Any:
    pipeline = Gst.parse_launch(description)
    pad = pipeline.get_by_name(name).get_static_pad("src")
    pad.add_probe(Gst.PadProbeType.BUFFER, probe)
    pipeline.set_state(Gst.State.PLAYING)
    return pipeline


def whiten() -> Any:
    reader = FormatReader()

    def probe(pad: Any, info: Any) -> Any:
        with mapped_frame(info, reader.read(pad), write=True) as frame:
            frame.arrays[0][2:4, 5:9] = 255
        return Gst.PadProbeReturn.OK

    return probe


def test_written_pixels_continue_downstream() -> None:
    pipeline = play(
        "videotestsrc num-buffers=3 pattern=black ! video/x-raw,format=RGBA,width=33,height=17 ! "
        "identity name=here ! appsink name=sink sync=false",
        "here",
        whiten(),
    )
    frames = pulled(pipeline.get_by_name("sink"), 17, 33)
    pipeline.set_state(Gst.State.NULL)
    assert len(frames) == 3
    for frame in frames:
        assert (frame[2:4, 5:9] == 255).all()
        assert (frame[5:, :, :3] == 0).all()


def test_other_branch_of_a_tee_is_unchanged() -> None:
    pipeline = play(
        "videotestsrc num-buffers=5 pattern=black ! video/x-raw,format=RGBA,width=32,height=16 ! "
        "tee name=t ! queue ! identity name=here ! appsink name=drawn sync=false "
        "t. ! queue ! appsink name=clean sync=false",
        "here",
        whiten(),
    )
    drawn = pulled(pipeline.get_by_name("drawn"), 16, 32)
    clean = pulled(pipeline.get_by_name("clean"), 16, 32)
    pipeline.set_state(Gst.State.NULL)
    assert len(drawn) == len(clean) == 5
    assert all((f[2:4, 5:9] == 255).all() for f in drawn)
    assert all((f[..., :3] == 0).all() for f in clean)


def test_reading_sees_pixels_and_timestamps() -> None:
    seen: list[tuple[int | None, np.ndarray]] = []

    reader = FormatReader()

    def probe(pad: Any, info: Any) -> Any:
        stamp = timestamp_ns(info)
        with mapped_frame(info, reader.read(pad)) as frame:
            seen.append((stamp, frame.arrays[0].copy()))
        return Gst.PadProbeReturn.OK

    pipeline = play(
        "videotestsrc num-buffers=3 pattern=red ! "
        "video/x-raw,format=RGBA,width=32,height=16,framerate=10/1 ! "
        "identity name=here ! appsink name=sink sync=false",
        "here",
        probe,
    )
    pulled(pipeline.get_by_name("sink"), 16, 32)
    pipeline.set_state(Gst.State.NULL)
    assert [stamp for stamp, _ in seen] == [0, 100_000_000, 200_000_000]
    assert all((f == (255, 0, 0, 255)).all() for _, f in seen)


def test_too_small_buffer_raises() -> None:
    errors: list[str] = []
    larger = read_format(Gst.Caps.from_string("video/x-raw,format=RGBA,width=1000,height=1000"))

    def probe(_pad: Any, info: Any) -> Any:
        try:
            with mapped_frame(info, larger):
                pass
        except RuntimeError as error:
            errors.append(str(error))
        return Gst.PadProbeReturn.OK

    pipeline = play(
        "videotestsrc num-buffers=1 ! video/x-raw,format=RGBA,width=32,height=16 ! "
        "identity name=here ! appsink name=sink sync=false",
        "here",
        probe,
    )
    pulled(pipeline.get_by_name("sink"), 16, 32)
    pipeline.set_state(Gst.State.NULL)
    assert errors == ["buffer of 2048 bytes, expected 4000000 for the frame"]
