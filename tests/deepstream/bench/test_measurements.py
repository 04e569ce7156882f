"""Tracer's log, copies, false marks, clips: what needs no run."""

from __future__ import annotations

from pathlib import Path

import pytest

from deepstream.bench.clips import parse_size
from deepstream.bench.device_bench import DeviceBenchSettings
from deepstream.bench.false_marks import parse_part
from deepstream.bench.graph_bench import GraphBenchSettings
from deepstream.bench.measured_probes import count_copies
from deepstream.bench.tracer import read_tracer_log
from deepstream.graph.description import Description, Link
from xpnet.errors import UserError

LINE = (
    "0:00:14.83 4844 0x7f TRACE GST_TRACER :0:: element-latency, element-id=(string)0x39, "
    "element=(string){name}, src=(string)src, time=(guint64){ns}, ts=(guint64)14833468232;\n"
)


def test_tracer_log_is_read_in_the_order_of_the_stream(tmp_path: Path) -> None:
    log = tmp_path / "log"
    words = [LINE.format(name="overlay", ns=n * 1_000_000) for n in range(1, 6)]
    words += [LINE.format(name="avdec_h264-1", ns=7_000_000)] * 4
    words += [LINE.format(name="avdec_h264-0", ns=9_000_000)]  # of the check of the file
    words += [LINE.format(name="input", ns=500_000)] * 5 + ["something else\n"]
    log.write_text("".join(words))
    rows = read_tracer_log(log, ["source", "input", "overlay"], 5)
    assert [row["element"] for row in rows] == ["avdec_h264-1", "input", "overlay"]
    assert [row["median_ms"] for row in rows] == [7.0, 0.5, 3.0]
    assert (rows[2]["frames"], rows[2]["p95_ms"]) == (5, 4.8)


def test_copies_are_counted_where_the_address_changes() -> None:
    links = (Link("decoded", "input"), Link("input", "overlay"), Link("overlay", "drawn"))
    graph = Description("test", (), links, (), (), ())
    memory = {
        1: {"decoded": 10, "input": 10, "overlay": 20, "drawn": 30},
        2: {"decoded": 11, "input": 11, "overlay": 21, "drawn": 21},
        3: {"decoded": 12},  # was still under way
    }
    found = count_copies(memory, graph)
    assert found == {"frames": 2, "copies": 1.5, "where": {"input": 1.0, "overlay": 0.5}}


def test_parts_of_clips_and_sizes() -> None:
    part = parse_part("a@b.mp4@1.5-4")
    assert (str(part.path), part.start_s, part.end_s) == ("a@b.mp4", 1.5, 4.0)
    assert parse_part("clip.mp4").end_s is None
    assert (parse_size("4k"), parse_size("320x180")) == ((2160, 3840), (180, 320))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sizes": ("big",)}, "size 'big': expected 720p, 1080p, 4k, or WIDTHxHEIGHT"),
        ({"sizes": ("321x180",)}, "size '321x180': expected"),
        ({"modes": ("newest",)}, "--modes newest: expected every, latest"),
        ({"streams": (0,)}, "--streams 0: expected 1 to 16"),
        ({"seconds": 0}, "--seconds 0: expected 1 to 600"),
        ({"only": ("speed",)}, "--only speed: expected parts, runs"),
        ({"backend": "magic"}, "backend 'magic': expected triton"),
    ],
)
def test_wrong_settings_of_the_graph_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        GraphBenchSettings(**settings)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"without_polyps": ("a.mp4@5-2",)}, "a.mp4@5-2: expected an end behind the start"),
        ({"without_polyps": ("a.mp4@x",)}, "a.mp4@x: expected FILE or FILE@START-END"),
        ({"rounds": 0}, "--rounds 0: expected 1 to 100"),
        ({"seconds": 1e9}, "--seconds 1e"),
    ],
)
def test_wrong_settings_of_the_device_are_refused(
    settings: dict[str, object], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        DeviceBenchSettings({}, **settings)  # type: ignore[arg-type]
