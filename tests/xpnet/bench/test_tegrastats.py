"""Logs of tegrastats in the formats of JetPack 5, 6 and 7.

The logs in logs/ are made up in these formats.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.conftest import one_line
from xpnet.bench.tegrastats import format_summary, parse_line, read_log, summarise
from xpnet.errors import UserError

LOGS = Path(__file__).parent / "logs"


def test_jetpack_5_lines_have_no_date() -> None:
    log = read_log(LOGS / "jetpack5.log", interval_ms=500)
    assert log.seconds == tuple(i * 0.5 for i in range(10))
    first = log.samples[0]
    assert (first.ram_mb, first.ram_total_mb) == (3100, 6854)
    assert first.cpu == (20 + 18 + 11 + 9) / 4  # without the cores that are off
    assert (first.gpu, first.gpu_mhz) == (10, 1109)
    assert first.watts == {"VDD_IN": 5.1, "VDD_CPU_GPU_CV": 0.9, "VDD_SOC": 1.1}
    assert first.celsius["PMIC"] == 50


def test_jetpack_6_lines_of_one_second_are_spread_over_it() -> None:
    log = read_log(LOGS / "jetpack6.log")
    assert log.seconds == tuple(i * 0.5 for i in range(12))
    last = log.samples[-1]
    assert (last.gpu, last.gpu_mhz) == (88, 918)
    assert last.watts["VDD_IN"] == 14.6
    # The sensor cv is missing, because it has no power.
    assert set(last.celsius) == {"cpu", "soc0", "soc1", "soc2", "gpu", "tj"}


def test_jetpack_7_has_gpu_clocks_but_no_gpu_load() -> None:
    summary = summarise(read_log(LOGS / "jetpack7.log"))
    assert summary["gpu_percent"] is None
    assert summary["gpu_mhz"] == {"mean": 1574, "min": 1574, "max": 1574}
    assert summary["celsius"]["gpu"] == {"mean": 54.0, "min": 51.2, "max": 56.8}
    assert summary["watts"]["VIN"] == {"mean": 42.9, "min": 28.9, "max": 56.9}
    assert set(summary["watts"]) == {"VDD_GPU", "VDD_CPU_SOC_MSS", "VIN_SYS_5V0", "VIN"}
    lines = {line[:26].strip(): line[26:] for line in format_summary(summary)}
    assert lines["GPU"] == "not in this log"


@pytest.mark.parametrize(
    ("gpu", "load", "clock"),
    [
        ("GR3D_FREQ 45%@318", 45, 318),
        ("GR3D_FREQ 0%@[305,611]", 0, 611),
        ("GR3D_FREQ 7%", 7, None),
        ("GR3D_FREQ @[314,314,314]", None, 314),
        ("", None, None),
    ],
)
def test_gpu_load_and_clock_formats(gpu: str, load: float | None, clock: float | None) -> None:
    sample = parse_line(f"RAM 1/2MB (lfb 1x4MB) CPU [0%,5%,off]@2601 {gpu} cpu@50C")
    assert sample is not None
    assert (sample.gpu, sample.gpu_mhz, sample.cpu, sample.watts) == (load, clock, 2.5, {})


def test_invalid_lines_are_skipped_and_counted(tmp_path: Path) -> None:
    lines = (LOGS / "jetpack6.log").read_text().splitlines()
    lines[3] = lines[3][:40]  # truncated
    lines[5] = lines[5].replace("CPU [25%", "CPU [x%")
    path = tmp_path / "invalid.log"
    path.write_text("\n".join(lines) + "\n\n")
    summary = summarise(read_log(path))
    assert summary["broken_lines"] == [4, 6]
    assert summary["samples"] == 10
    assert format_summary(summary)[-1] == "skipped 2 invalid lines, the first is line 4"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty, expected a log of tegrastats"),
        (b"\n \n", "is empty, expected a log of tegrastats"),
        (b"hello\nworld\n", "none of 2 lines is from tegrastats, the first is 'hello'"),
        (bytes(range(256)), "lines is from tegrastats"),
    ],
    ids=["empty", "blank", "text", "binary"],
)
def test_other_file_than_a_log_is_rejected(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "a.log"
    path.write_bytes(content)
    with pytest.raises(UserError, match=message):
        read_log(path)


def test_command_writes_summary_and_plot(xpnet, tmp_path: Path) -> None:
    log, out, plot = LOGS / "jetpack7.log", tmp_path / "out.json", tmp_path / "out.svg"
    result = xpnet("bench", "tegrastats", log, "--json", out, "--plot", plot)
    assert result.returncode == 0, result.stderr
    summary = summarise(read_log(log))
    assert json.loads(out.read_text()) == summary
    assert result.stdout.splitlines() == format_summary(summary)
    assert b"<svg" in plot.read_bytes()[:1000]


def test_invalid_log_gives_one_line_and_no_output(xpnet, tmp_path: Path) -> None:
    log, out = tmp_path / "a.log", tmp_path / "o.json"
    log.touch()
    assert "is empty, expected a log" in one_line(xpnet("bench", "tegrastats", log, "--json", out))
    assert not out.exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("missing.log",), "missing.log: cannot be read"),
        ((LOGS / "jetpack5.log", "--interval", 0), "--interval 0"),
        ((LOGS / "jetpack5.log", "--plot", "a.gif"), ".png, .svg or .pdf"),
    ],
)
def test_wrong_options_give_one_line(
    xpnet, tmp_path: Path, options: tuple[object, ...], message: str
) -> None:
    assert message in one_line(xpnet("bench", "tegrastats", *options, cwd=tmp_path))
