"""Tracer's log, copies, false marks, clips: what needs no run."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from deepstream.bench import processes
from deepstream.bench.archive_bench import ArchiveBenchSettings
from deepstream.bench.clips import parse_size
from deepstream.bench.device_bench import DeviceBenchSettings
from deepstream.bench.false_marks import parse_part
from deepstream.bench.graph_bench import GraphBenchSettings
from deepstream.bench.jobs import Job
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


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"clips": 3}, "3 clips of 2 s: expected at least 4"),
        ({"seconds": 0.0}, "40 clips of 0 s: .*more than 0 s"),
        ({"seconds": float("nan")}, "40 clips of nan s"),
        ({"seconds": float("inf")}, "40 clips of inf s"),
        ({"workers": -1}, "--workers -1: expected at least 1"),
    ],
)
def test_wrong_settings_of_the_archive_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        ArchiveBenchSettings(**settings)


def test_job_that_died_after_it_was_ready_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(_: Job, path: Path, __: object) -> tuple[subprocess.Popen[str], Path]:
        log = path.with_suffix(".log")
        with log.open("w", encoding="utf-8") as stream:
            process = subprocess.Popen(
                ["sh", "-c", "echo ready; echo the reason >&2; exit 3"],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stream, text=True,
            )  # fmt: skip
        process.wait()
        return process, log

    monkeypatch.setattr(processes, "_start", start)
    with pytest.raises(UserError, match="a measured run failed: the reason"):
        processes.run_jobs([Job("parts", "clip.mp4")])
