"""Which element an error comes from, and the elements before it."""

from __future__ import annotations

from pathlib import Path

import pytest

from deepstream.control.appearance import Appearance
from deepstream.control.controls import Controls
from deepstream.graph.pipeline import Graph, describe_graph
from deepstream.gstreamer import GLib, Gst
from deepstream.io.output import SinkProperties
from deepstream.io.source import VideoSource
from deepstream.probes.triton_probe import EveryProbes

pytestmark = pytest.mark.integration


def error_of(element: Gst.Element) -> Gst.Message:
    error = GLib.Error.new_literal(Gst.stream_error_quark(), "broken", Gst.StreamError.FAILED)
    return Gst.Message.new_error(element, error, "")


def test_error_inside_an_element_that_contains_others_is_attributed_to_it() -> None:
    """autovideosink contains the sink that it selected, which posts the error."""
    clip = VideoSource(Path("a.mp4"), 64, 96, 25, 2, False, uri="file:///a.mp4")
    sink = SinkProperties(window="autovideosink")
    probes = EveryProbes(64, 96, None, Controls(Appearance()))  # no frame is processed
    graph = Graph(clip, describe_graph("gstreamer", clip, "screen", sink), probes)
    screen = graph.element("sink")
    (inside,) = screen.children
    assert graph.failed_element(error_of(inside)) == "sink"
    assert graph.failed_element(error_of(screen)) == "sink"
    assert graph.failed_element(error_of(graph.element("pacer"))) == "pacer"
    assert graph.failed_element(error_of(graph.pipeline)) == ""


def test_upstream_elements() -> None:
    clip = VideoSource(Path("a.mp4"), 64, 96, 25, 2, True, uri="file:///a.mp4")
    sink = SinkProperties("o.mp4", "mp4mux")
    description = describe_graph("gstreamer", clip, "file", sink)
    before = description.upstream("overlay")
    assert {"source", "input", "pacer", "inflight", "overlay"} <= before
    assert not {"drawn", "muxer", "sound"} & before
