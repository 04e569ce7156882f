"""Logs of tegrastats as JetPack 5, 6 and 7 write them; the logs in logs/ are made up."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.conftest import one_line
from xpnet.bench.tegrastats import parse_line, read_log, summarise

LOGS = Path(__file__).parent / "logs"


def test_jetpack_5_without_dates() -> None:
    log = read_log(LOGS / "jetpack5.log", interval_ms=500)
    assert log.seconds == tuple(i * 0.5 for i in range(10))
    first = log.samples[0]
    assert (first.ram_mb, first.ram_total_mb) == (3100, 6854)
    assert first.cpu == (20 + 18 + 11 + 9) / 4  # the cores that are off do not count
    assert (first.gpu, first.gpu_mhz) == (10, 1109)
    assert first.watts == {"VDD_IN": 5.1, "VDD_CPU_GPU_CV": 0.9, "VDD_SOC": 1.1}
    assert first.celsius["PMIC"] == 50


def test_jetpack_6_two_lines_a_second() -> None:
    log = read_log(LOGS / "jetpack6.log")
    assert log.seconds == tuple(i * 0.5 for i in range(12))
    last = log.samples[-1]
    assert (last.gpu, last.gpu_mhz) == (88, 918)
    assert last.watts["VDD_IN"] == 14.6
    assert set(last.celsius) == {"cpu", "soc0", "soc1", "soc2", "gpu", "tj"}  # no cv: it is off


def test_jetpack_7_tells_clocks_but_no_load() -> None:
    found = summarise(read_log(LOGS / "jetpack7.log"))
    assert found["gpu_percent"] is None
    assert found["gpu_mhz"] == {"mean": 1574, "min": 1574, "max": 1574}
    assert found["celsius"]["gpu"] == {"mean": 54.0, "min": 51.2, "max": 56.8}
    assert found["watts"]["VIN"] == {"mean": 42.9, "min": 28.9, "max": 56.9}
    assert set(found["watts"]) == {"VDD_GPU", "VDD_CPU_SOC_MSS", "VIN_SYS_5V0", "VIN"}


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
def test_every_form_of_the_gpu(gpu: str, load: float | None, clock: float | None) -> None:
    sample = parse_line(f"RAM 1/2MB (lfb 1x4MB) CPU [0%,5%,off]@2601 {gpu} cpu@50C")
    assert sample is not None
    assert (sample.gpu, sample.gpu_mhz, sample.cpu, sample.watts) == (load, clock, 2.5, {})


def test_broken_lines_are_left_out_and_told(xpnet, tmp_path: Path) -> None:
    lines = (LOGS / "jetpack6.log").read_text().splitlines()
    lines[3] = lines[3][:40]  # cut off
    lines[5] = lines[5].replace("CPU [25%", "CPU [x%")
    log = tmp_path / "broken.log"
    log.write_text("\n".join(lines) + "\n\n")
    result = xpnet("bench", "tegrastats", log, "--json", tmp_path / "out.json")
    assert result.returncode == 0, result.stderr
    found = json.loads((tmp_path / "out.json").read_text())
    assert found["broken_lines"] == [4, 6]
    assert found["samples"] == 10
    assert "left out: 2 broken lines, the first is line 4" in result.stdout


def test_summary_json_and_plot(xpnet, tmp_path: Path) -> None:
    for name in ("jetpack5", "jetpack7"):
        out, plot = tmp_path / f"{name}.json", tmp_path / f"{name}.svg"
        log = LOGS / f"{name}.log"
        result = xpnet("bench", "tegrastats", log, "--json", out, "--plot", plot)
        assert result.returncode == 0, result.stderr
        assert json.loads(out.read_text()) == summarise(read_log(log))
        assert b"<svg" in plot.read_bytes()[:1000]
    assert "not told by this log" in result.stdout  # the GPU's load on a Thor


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty, expected a log of tegrastats"),
        (b"\n \n", "is empty, expected a log of tegrastats"),
        (b"hello\nworld\n", "no line of tegrastats in 2, the first is 'hello'"),
        (bytes(range(256)), "no line of tegrastats in"),
    ],
)
def test_what_is_no_log_is_named(xpnet, tmp_path: Path, content: bytes, message: str) -> None:
    log, out = tmp_path / "a.log", tmp_path / "o.json"
    log.write_bytes(content)
    assert message in one_line(xpnet("bench", "tegrastats", log, "--json", out))
    assert not out.exists()


def test_wrong_use_is_named(xpnet, tmp_path: Path) -> None:
    log = LOGS / "jetpack5.log"
    assert "no.log: cannot be read" in one_line(xpnet("bench", "tegrastats", tmp_path / "no.log"))
    assert "--interval 0" in one_line(xpnet("bench", "tegrastats", log, "--interval", 0))
    line = one_line(xpnet("bench", "tegrastats", log, "--plot", tmp_path / "a.gif"))
    assert "expected a name that ends in .png, .svg or .pdf" in line
