"""Descriptions of all graphs: every element, property and value in them exists."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from deepstream.graph.description import Description, ElementSpec, assemble_description
from deepstream.graph.drawing import as_dot
from deepstream.graph.element_tables import LEAKY_QUEUE, TABLES
from deepstream.graph.pipeline import describe_graph
from deepstream.graph.pipeline_builder import _media, build
from deepstream.gstreamer import GObject, Gst
from deepstream.io.colour_tags import FileColours
from deepstream.io.output import SinkProperties
from deepstream.io.source import LIVE_KINDS, VideoSource, open_clip
from deepstream.probes.base import Probes
from deepstream.probes.nvds_probe import NvdsProbes
from deepstream.probes.triton_probe import EveryProbes, LatestProbes
from tests.conftest import CLIP, ROOT, one_line
from tests.deepstream.graph.known_elements import MUX_PADS, NVIDIA
from tests.deepstream.nvds.libraries import folder
from xpnet.errors import UserError

pytestmark = pytest.mark.integration

SINK_KINDS = ("file", "screen", "drm", "rtsp")
SINK = SinkProperties("masks.mp4", "mp4mux", "5000")
SOURCES = {
    "file": VideoSource(
        Path("a.mp4"),
        405,
        721,
        25,
        2,
        True,
        kind="file",
        uri="file:///a.mp4",
        audio_caps="audio/mpeg,mpegversion=(int)4,stream-format=(string)raw",
    ),
    "images": VideoSource(
        Path("a"), 405, 721, 25, 2, False, kind="images", images=(Path("a/1.png"),)
    ),
    "rtsp": VideoSource(Path("a"), 1080, 1920, 0, 0, False, kind="rtsp", uri="rtsp://127.0.0.1/a"),
    "v4l2": VideoSource(Path("a"), 1080, 1920, 0, 0, False, kind="v4l2", device="/dev/video0"),
    "v4l2-jpeg": VideoSource(
        Path("a"), 1080, 1920, 30, 0, False, kind="v4l2-jpeg", device="/dev/video0"
    ),
    "live-file": VideoSource(
        Path("a.mp4"), 405, 721, 25, 0, False, kind="live-file", uri="file:///a.mp4"
    ),
    "testpattern": VideoSource(Path("testpattern"), 720, 1280, 25, 0, False, kind="testpattern"),
    "decklink": VideoSource(Path("a"), 1080, 1920, 0, 0, False, kind="decklink", device="0"),
}


def every_graph() -> list[Description]:
    """Return all graphs that the tables allow: platform, source, sink, mode, encoder."""
    found = []
    for (platform, table), clip, sink, mode, hardware in product(
        TABLES.items(), SOURCES.values(), SINK_KINDS, ("every", "latest", "none"), (True, False)
    ):
        known = f"source.{clip.kind}" in table and f"inference.{mode}" in table
        known = known and f"sink.{sink}" in table
        if known and not (hardware and "encoder.hardware" not in table):
            found.append(
                describe_graph(
                    platform,
                    clip,
                    sink,
                    SINK,
                    mode,
                    infer_config="infer.txt",
                    hardware_encoder=hardware,
                )
            )
    return found


GRAPHS = every_graph()
ROWS = sorted(
    {(row.factory, k, v) for g in GRAPHS for row in g.elements for k, v in row.properties.items()}
)
FACTORIES = sorted({row.factory for g in GRAPHS for row in g.elements})


def test_every_platform_has_graphs() -> None:
    assert {g.platform for g in GRAPHS} == set(TABLES)
    assert len(GRAPHS) > 60


@pytest.mark.parametrize("factory", FACTORIES)
def test_every_element_is_known(factory: str) -> None:
    assert factory in NVIDIA if factory.startswith("nv") else Gst.ElementFactory.find(factory)


@pytest.mark.parametrize(("factory", "key", "value"), ROWS)
def test_every_property_is_known_and_takes_its_value(factory: str, key: str, value: str) -> None:
    if factory in NVIDIA:
        assert re.fullmatch(NVIDIA[factory].properties[key], value), (factory, key, value)
        if Gst.ElementFactory.find(factory) is None:
            return  # on a target the element itself is queried
    element = Gst.ElementFactory.make(factory)
    assert element.find_property(key) is not None
    assert taken(element, key, value)


def taken(element: Any, key: str, value: str) -> bool:
    """Return whether a property, set from text, has that value afterwards."""
    Gst.util_set_object_arg(element, key, value)
    found = element.get_property(key)
    if isinstance(found, bool):
        return found == (value == "true")
    if isinstance(found, Gst.Caps):
        return bool(found.is_equal(Gst.Caps.from_string(value)))
    if isinstance(found, GObject.GEnum):
        return value in (found.value_nick, str(int(found)))
    if isinstance(found, GObject.GFlags):
        return bool(value in found.value_nicks)
    return str(found) == value


def test_wrong_name_or_value_is_detected() -> None:
    queue = Gst.ElementFactory.make("queue")
    assert queue.find_property("max-size-buffer") is None
    assert taken(queue, "leaky", "downstream")
    assert not taken(Gst.ElementFactory.make("queue"), "leaky", "downstraem")
    assert not taken(Gst.ElementFactory.make("x264enc"), "tune", "zerolatencie")
    assert not re.fullmatch(NVIDIA["nvstreammux"].properties["nvbuf-memory-type"], "5")
    assert "batchsize" not in NVIDIA["nvstreammux"].properties


@pytest.mark.parametrize("factory", [f for f in NVIDIA if NVIDIA[f].shared_object])
def test_nvidia_library_contains_the_names_of_the_properties(factory: str) -> None:
    libraries = folder()
    assert libraries is not None
    content = (libraries / NVIDIA[factory].shared_object).read_bytes()
    for name in NVIDIA[factory].properties:
        # No zero byte before it: the linker lets a string start inside a longer one (peak-bitrate).
        assert f"{name}\0".encode() in content, name


def test_element_names_are_unique_and_links_have_a_target() -> None:
    for graph in GRAPHS:
        names = [row.name for row in graph.elements]
        assert len(set(names)) == len(names)
        for link in graph.links:
            assert {link.source, link.target} <= set(names)
            if link.target_pad:
                pattern = MUX_PADS[graph.element(link.target).factory]
                assert re.fullmatch(pattern, link.target_pad)
        assert set(graph.source_elements) <= set(names)
        assert graph.eos_pads


@pytest.mark.parametrize("probes", [EveryProbes, LatestProbes, NvdsProbes])
def test_every_probe_has_its_handler(probes: type[Probes]) -> None:
    for graph in GRAPHS:
        kind: type[Probes] = (
            LatestProbes if "fork" in {row.name for row in graph.elements} else EveryProbes
        )
        if graph.platform.startswith("deepstream"):
            kind = NvdsProbes
        if probes is kind:
            assert graph.probes
            assert all(callable(getattr(probes, point.handler)) for point in graph.probes)


def test_live_sources_drop_the_oldest_frame() -> None:
    for table in TABLES.values():
        for kind in LIVE_KINDS:
            assert LEAKY_QUEUE in table[f"source.{kind}"], kind


def test_viewers_wait_at_most_two_seconds_for_a_key_frame() -> None:
    """Decoding can start every 50 frames; nvv4l2h264enc counts those frames separately."""
    for graph in GRAPHS:
        for row in graph.elements:
            if row.name == "encoder":
                apart = ("iframeinterval", "idrinterval")
                keys = apart if row.factory == "nvv4l2h264enc" else ("key-int-max",)
                assert [row.properties[key] for key in keys] == ["50"] * len(keys)


def test_platforms_differ_in_their_tables_only() -> None:
    table = {
        name: (ElementSpec("identity", name.split(".")[0], accepts_eos=True),)
        for name in TABLES["gstreamer"]
    }
    graph = assemble_description("mine", table, "file", "screen", "every", "software", {})
    assert [row.name for row in graph.elements] == [
        "source", "frame", "inference", "overlay", "sink"
    ]  # fmt: skip


def test_stage_that_a_platform_lacks_is_reported() -> None:
    with pytest.raises(UserError, match="platform deepstream: no source images: it has decklink"):
        describe_graph("deepstream", SOURCES["images"], "file", SINK)
    with pytest.raises(UserError, match="no inference none: it has every, latest"):
        describe_graph("gstreamer", SOURCES["file"], "file", SINK, mode="none")


def test_only_a_jetson_shows_frames_without_a_desktop() -> None:
    """create_render_bin of deepstream_sink_bin.c refuses nvdrmvideosink on other machines."""
    jetson = describe_graph("deepstream-jetson", SOURCES["v4l2"], "drm", SINK)
    assert [row.factory for row in jetson.elements][-1] == "nvdrmvideosink"
    assert all(row.name != "encoder" for row in jetson.elements)
    for platform in ("deepstream", "gstreamer"):
        with pytest.raises(UserError, match="no sink drm: it has file, none, rtsp, screen"):
            describe_graph(platform, SOURCES["v4l2"], "drm", SINK)


def test_gstreamer_parses_the_launch_line() -> None:
    graph = describe_graph("gstreamer", open_clip(CLIP, 25), "file", SINK)
    pipeline = Gst.parse_launch(graph.as_launch())
    for row in graph.elements:
        assert pipeline.get_by_name(row.name).get_factory().get_name() == row.factory
    caps = pipeline.get_by_name("canvas").get_property("caps")
    assert caps.get_structure(0).get_int("width") == (True, 720)
    assert "I420" in caps.to_string()
    assert "RGB" not in caps.to_string()


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (ElementSpec("nosuchelement", "a"), "GStreamer has no element nosuchelement"),
        (ElementSpec("queue", "a", {"max-size-bufers": "1"}), "queue has no 'max-size-bufers'"),
    ],
)
def test_graph_that_cannot_be_built_is_reported(row: ElementSpec, message: str) -> None:
    with pytest.raises(UserError, match=message):
        build(Description("mine", (row,), (), (), (), ()))


@pytest.mark.parametrize("platform", ["gstreamer", "deepstream"])
def test_drawing_in_the_docs_is_up_to_date(xpnet, tmp_path: Path, platform: str) -> None:
    dot = tmp_path / "graph.dot"
    xpnet("run", "graph", CLIP, "--platform", platform, "--dot", dot,
          "--infer-config", "nvinferserver.txt")  # fmt: skip
    assert dot.read_text() == (ROOT / "docs" / "graphs" / f"{platform}.dot").read_text()


@pytest.mark.skipif(shutil.which("dot") is None, reason="needs Graphviz")
def test_graphviz_draws_the_graph(xpnet, tmp_path: Path) -> None:
    picture = tmp_path / "graph.png"
    assert xpnet("run", "graph", CLIP, "--picture", picture).returncode == 0
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert [p.name for p in tmp_path.iterdir()] == ["graph.png"]


def test_drawing_without_graphviz_gives_one_line(xpnet, tmp_path: Path) -> None:
    import os

    result = xpnet(
        "run",
        "graph",
        CLIP,
        "--picture",
        tmp_path / "g.png",
        env={**os.environ, "PATH": str(tmp_path)},
    )
    assert "drawing needs Graphviz: apt install graphviz" in one_line(result)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "uri", ["rtsp://me:p@secret@host/scope", "rtsp://host/scope?u=a&p=secret", "rtsp://me:secret@h"]
)
def test_camera_password_is_neither_drawn_nor_logged(uri: str) -> None:
    clip = VideoSource(Path("a"), 16, 16, 0, 0, False, kind="rtsp", uri=uri)
    description = describe_graph("deepstream", clip, "screen", SINK)
    assert "secret" in description.as_launch()
    assert "secret" not in clip.without_credentials(description.as_launch())
    assert "secret" not in as_dot(description)
    assert "secret" not in clip.display_name


def test_pad_without_caps_is_linked_by_its_name() -> None:
    """nvurisrcbin adds vsrc_0 before it has decoded anything."""
    for name, media in (("vsrc_0", "video"), ("asrc_0", "audio")):
        pad = Gst.Pad.new(name, Gst.PadDirection.SRC)
        assert _media(pad, pad.query_caps(None)) == media
    nvmm = Gst.Caps.from_string("video/x-raw(memory:NVMM),format=NV12")
    assert _media(Gst.Pad.new("src_7", Gst.PadDirection.SRC), nvmm) == "video"
    stored = Gst.Caps.from_string("audio/mpeg,mpegversion=4")
    assert _media(Gst.Pad.new("src_1", Gst.PadDirection.SRC), stored) == "audio"
    rtp = Gst.Caps.from_string("application/x-rtp,media=audio")
    assert _media(Gst.Pad.new("recv", Gst.PadDirection.SRC), rtp) == "audio"


@pytest.mark.parametrize("sink", ["file", "rtsp"])
def test_untagged_file_is_encoded_without_tags(sink: str) -> None:
    colours = FileColours(untagged=True, full_range=True)
    graph = describe_graph("gstreamer", replace(SOURCES["file"], colours=colours), sink, SINK)
    encoder = graph.element("encoder").properties
    assert (encoder["insert-vui"], encoder["option-string"]) == ("false", "fullrange=on")
    tagged = describe_graph("gstreamer", SOURCES["file"], sink, SINK).element("encoder").properties
    assert (tagged["insert-vui"], tagged["option-string"]) == ("true", "")
