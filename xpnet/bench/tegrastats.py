"""`xpnet bench tegrastats`: load, memory, power and temperatures in a log of tegrastats.

Reads the files of `tegrastats --logfile FILE` of JetPack 5, 6 and 7. Sources: "Tegrastats Utility"
of NVIDIA's Jetson Linux guides 35, 36 and 38, and lines of an Orin and a Thor in public bug reports
(jetson_stats 624 and 894).

Differences between versions:
- GPU (GR3D_FREQ): JetPack 5 and 6 write the load with one clock or a list of clocks. JetPack 7 on
  Thor writes a list of clocks without the load.
- Power rail: `current/average`; JetPack 7 adds the highest value.
- Temperature: one value; JetPack 7 adds the highest value.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from pathlib import Path
from statistics import fmean
from typing import Any

from xpnet.errors import UserError
from xpnet.figures import new_figure, save_figure

DEFAULT_INTERVAL_MS = 1000
"""Default time between two lines of tegrastats."""
MIN_VALID_C = -100.0
"""Temperatures below are invalid: a sensor without power reports -256."""

_DATE = re.compile(r"(\d\d-\d\d-\d{4} \d\d:\d\d:\d\d) ")
_RAM = re.compile(r"\bRAM (\d+)/(\d+)MB\b")
_CPU = re.compile(r"\bCPU \[([^\]]*)\]")
_CORE = re.compile(r"\s*(?:(\d+)%(?:@\d+)?|off)\s*")
_GPU = re.compile(r"\bGR3D_FREQ (?:(\d+)%)?(?:@\[?(\d+(?:,\d+)*)\]?)?")
_TEMPERATURE = re.compile(r"\b([A-Za-z]\w*)@(-?\d+(?:\.\d+)?)C\b")
_RAIL = re.compile(r"\b([A-Z][A-Z0-9_]*) (\d+)(?:mW)?/\d+(?:mW)?(?:/\d+(?:mW)?)?(?!\S)")


@dataclass(frozen=True)
class Sample:
    """One line of a log; None for a value that the line does not have.

    Attributes:
        time: Local time of the line.
        ram_mb: Memory in use.
        ram_total_mb: Total memory.
        cpu: Mean load of the CPU cores that are on, in percent.
        gpu: GPU load, in percent.
        gpu_mhz: Highest GPU clock.
        celsius: Temperature by sensor.
        watts: Power by rail.
    """

    time: datetime | None
    ram_mb: int
    ram_total_mb: int
    cpu: float
    gpu: float | None
    gpu_mhz: float | None
    celsius: dict[str, float]
    watts: dict[str, float]


@dataclass(frozen=True)
class TegrastatsLog:
    """A log of tegrastats.

    Attributes:
        samples: The valid lines, in order.
        seconds: Time of each sample since the first one.
        invalid_lines: Numbers of the invalid lines, from 1.
    """

    samples: tuple[Sample, ...]
    seconds: tuple[float, ...]
    invalid_lines: tuple[int, ...]


def parse_line(line: str) -> Sample | None:
    """Parse one line of a log.

    Returns:
        The sample, or None if the line is truncated or not from tegrastats.
    """
    date, ram, cpu = _DATE.search(line), _RAM.search(line), _CPU.search(line)
    if ram is None or cpu is None:
        return None
    cores = [_CORE.fullmatch(core) for core in cpu[1].split(",")]
    if not all(cores):
        return None
    loads = [float(core[1]) for core in cores if core and core[1]]
    gpu = _GPU.search(line)
    clocks = [float(mhz) for mhz in gpu[2].split(",")] if gpu and gpu[2] else []
    celsius = {name: float(value) for name, value in _TEMPERATURE.findall(line)}
    return Sample(
        time=_parse_time(date[1]) if date else None,
        ram_mb=int(ram[1]),
        ram_total_mb=int(ram[2]),
        cpu=fmean(loads) if loads else 0.0,
        gpu=float(gpu[1]) if gpu and gpu[1] else None,
        gpu_mhz=max(clocks) if clocks else None,
        celsius={name: value for name, value in celsius.items() if value > MIN_VALID_C},
        watts={name: int(milliwatts) / 1000 for name, milliwatts in _RAIL.findall(line)},
    )


def read_log(path: Path, interval_ms: int = DEFAULT_INTERVAL_MS) -> TegrastatsLog:
    """Read a log file.

    Args:
        path: File of `tegrastats --logfile`.
        interval_ms: Time between two lines, for lines without a date.

    Raises:
        UserError: The file cannot be read, is empty, or has no valid line.
    """
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from error
    numbered = [(number, line) for number, line in enumerate(lines, 1) if line.strip()]
    if not numbered:
        raise UserError(f"{path}: is empty, expected a log of tegrastats")
    parsed = [(number, parse_line(line)) for number, line in numbered]
    samples = tuple(sample for _, sample in parsed if sample)
    if not samples:
        raise UserError(
            f"{path}: none of {len(numbered)} lines is from tegrastats, the first is "
            f"'{numbered[0][1].strip()[:60]}', expected '... RAM 2104/7620MB ... CPU [12%@1510,...'"
        )
    invalid = tuple(number for number, sample in parsed if sample is None)
    return TegrastatsLog(samples, _elapsed_seconds(samples, interval_ms / 1000), invalid)


def summarise(log: TegrastatsLog) -> dict[str, Any]:
    """Compute mean, minimum and maximum of every value of a log.

    Returns:
        `ram_mb`, `cpu_percent`, `gpu_percent` and `gpu_mhz`, each None if the log does not have
        it; `celsius` by sensor and `watts` by rail; the numbers of samples, seconds and invalid
        lines.
    """
    samples = log.samples
    return {
        "samples": len(samples),
        "seconds": round(log.seconds[-1], 1),
        "broken_lines": list(log.invalid_lines),
        "ram_total_mb": samples[-1].ram_total_mb,
        "ram_mb": _statistics([float(s.ram_mb) for s in samples]),
        "cpu_percent": _statistics([s.cpu for s in samples]),
        "gpu_percent": _statistics([s.gpu for s in samples if s.gpu is not None]),
        "gpu_mhz": _statistics([s.gpu_mhz for s in samples if s.gpu_mhz is not None]),
        "celsius": _statistics_by_name([s.celsius for s in samples]),
        "watts": _statistics_by_name([s.watts for s in samples]),
    }


def format_summary(summary: dict[str, Any]) -> list[str]:
    """Format a summary as lines of text.

    Args:
        summary: Result of `summarise`.
    """
    lines = [f"{summary['samples']} samples over {summary['seconds']:g} s"]
    rows = [
        (f"RAM, of {summary['ram_total_mb']} MB", summary["ram_mb"], "MB"),
        ("CPU", summary["cpu_percent"], "%"),
        ("GPU", summary["gpu_percent"], "%"),
        ("GPU clock", summary["gpu_mhz"], "MHz"),
        *((name, statistics, "W") for name, statistics in summary["watts"].items()),
        *((name, statistics, "C") for name, statistics in summary["celsius"].items()),
    ]
    for name, statistics, unit in rows:
        text = (
            f"mean {statistics['mean']:8.1f}  max {statistics['max']:8.1f} {unit}"
            if statistics
            else "not in this log"
        )
        lines.append(f"  {name:<24}{text}")
    invalid = summary["broken_lines"]
    if invalid:
        lines.append(f"skipped {len(invalid)} invalid lines, the first is line {invalid[0]}")
    return lines


def draw(log: TegrastatsLog, path: Path) -> None:
    """Draw load, memory, power and temperatures over time.

    Args:
        log: The log.
        path: The image to write: .png, .svg or .pdf.

    Raises:
        UserError: matplotlib is missing, the suffix is unknown, or the file cannot be written.
    """
    figure = new_figure(9, 9)
    load, memory, power, temperature = figure.subplots(4, 1, sharex=True)
    x, samples = log.seconds, log.samples
    load.plot(x, [s.cpu for s in samples], label="CPU, mean of its cores")
    gpu = [(t, s.gpu) for t, s in zip(x, samples, strict=True) if s.gpu is not None]
    if gpu:
        load.plot(*zip(*gpu, strict=True), label="GPU (GR3D)")
    load.set(ylabel="load, %", ylim=(0, 105), title="tegrastats")
    memory.plot(x, [s.ram_mb / 1024 for s in samples], label="RAM in use")
    memory.axhline(samples[-1].ram_total_mb / 1024, color="grey", ls=":", label="total RAM")
    memory.set(ylabel="GiB", ylim=(0, None))
    _draw_by_name(power, x, [s.watts for s in samples])
    power.set(ylabel="power, W", ylim=(0, None))
    _draw_by_name(temperature, x, [s.celsius for s in samples])
    temperature.set(ylabel="temperature, °C", xlabel="seconds")
    for axes in (load, memory, power, temperature):
        axes.grid(alpha=0.3)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize=8)
    save_figure(figure, path)


def _parse_time(text: str) -> datetime | None:
    try:
        return datetime.strptime(text, "%m-%d-%Y %H:%M:%S")
    except ValueError:  # not a date, for example a 13th month in an invalid line
        return None


def _elapsed_seconds(samples: tuple[Sample, ...], interval_s: float) -> tuple[float, ...]:
    """Return the time of each sample since the first one.

    If every line has a date, lines with the same second are spread evenly over it. Otherwise the
    lines are `interval_s` apart.
    """
    times = [s.time for s in samples if s.time is not None]
    if len(times) < len(samples) or times != sorted(times):
        return tuple(i * interval_s for i in range(len(samples)))
    elapsed: list[float] = []
    for time, group in groupby(times):
        count = len(list(group))
        start = (time - times[0]).total_seconds()
        elapsed += [start + i / count for i in range(count)]
    return tuple(elapsed)


def _statistics(values: list[float]) -> dict[str, float] | None:
    if not values:
        return None
    statistics = {"mean": fmean(values), "min": min(values), "max": max(values)}
    return {name: round(value, 3) for name, value in statistics.items()}


def _statistics_by_name(rows: list[dict[str, float]]) -> dict[str, Any]:
    return {name: _statistics([row[name] for row in rows if name in row]) for name in _names(rows)}


def _names(rows: Iterable[dict[str, float]]) -> list[str]:
    """Return the keys of all rows, in the order of their first appearance."""
    return list(dict.fromkeys(name for row in rows for name in row))


def _draw_by_name(axes: Any, x: tuple[float, ...], rows: list[dict[str, float]]) -> None:
    for name in _names(rows):
        points = [(t, row[name]) for t, row in zip(x, rows, strict=True) if name in row]
        axes.plot(*zip(*points, strict=True), label=name)
