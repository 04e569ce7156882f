"""`xpnet bench tegrastats`: what a Jetson did while it worked, from the log of its tegrastats.

Reads what `tegrastats --logfile FILE` writes on JetPack 5, 6 and 7. Sources: "Tegrastats Utility"
of NVIDIA's Jetson Linux guides 35, 36 and 38, and lines of an Orin and a Thor in public
bug reports (jetson_stats 624 and 894). JetPack 5 and 6 write the GPU's load with one clock or
a list of clocks, JetPack 7 on Thor a list without a load. A power rail is `now/average`, on
JetPack 7 with the highest as a third value; a temperature there has its highest as a second one.
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

INTERVAL_MS = 1000
"""What tegrastats waits between two lines unless it is told otherwise."""
ABSENT_C = -100.0
"""A sensor whose part has no power says -256."""

_DATE = re.compile(r"(\d\d-\d\d-\d{4} \d\d:\d\d:\d\d) ")
_RAM = re.compile(r"\bRAM (\d+)/(\d+)MB\b")
_CPU = re.compile(r"\bCPU \[([^\]]*)\]")
_CORE = re.compile(r"\s*(?:(\d+)%(?:@\d+)?|off)\s*")
_GPU = re.compile(r"\bGR3D_FREQ (?:(\d+)%)?(?:@\[?(\d+(?:,\d+)*)\]?)?")
_TEMPERATURE = re.compile(r"\b([A-Za-z]\w*)@(-?\d+(?:\.\d+)?)C\b")
_RAIL = re.compile(r"\b([A-Z][A-Z0-9_]*) (\d+)(?:mW)?/\d+(?:mW)?(?:/\d+(?:mW)?)?(?!\S)")


@dataclass(frozen=True)
class Sample:
    """One line. Loads in percent, `cpu` the mean of the cores that are on; None: not told."""

    time: datetime | None
    ram_mb: int
    ram_total_mb: int
    cpu: float
    gpu: float | None
    gpu_mhz: float | None
    celsius: dict[str, float]
    watts: dict[str, float]


@dataclass(frozen=True)
class Log:
    """The samples of a log in order, `seconds` since its first, and the lines that are none."""

    samples: tuple[Sample, ...]
    seconds: tuple[float, ...]
    broken: tuple[int, ...]  # numbers of lines, from 1


def parse_line(line: str) -> Sample | None:
    """The sample that a line holds; None where it is none of tegrastats, or cut off."""
    date, ram, cpu = _DATE.search(line), _RAM.search(line), _CPU.search(line)
    if ram is None or cpu is None:
        return None
    cores = [_CORE.fullmatch(core) for core in cpu[1].split(",")]
    if not all(cores):
        return None
    loads = [float(core[1]) for core in cores if core and core[1]]
    gpu = _GPU.search(line)
    clocks = [float(mhz) for mhz in gpu[2].split(",")] if gpu and gpu[2] else []
    found = {name: float(value) for name, value in _TEMPERATURE.findall(line)}
    return Sample(
        time=_time(date[1]) if date else None,
        ram_mb=int(ram[1]),
        ram_total_mb=int(ram[2]),
        cpu=fmean(loads) if loads else 0.0,
        gpu=float(gpu[1]) if gpu and gpu[1] else None,
        gpu_mhz=max(clocks) if clocks else None,
        celsius={name: value for name, value in found.items() if value > ABSENT_C},
        watts={name: int(now) / 1000 for name, now in _RAIL.findall(line)},
    )


def read_log(path: Path, interval_ms: int = INTERVAL_MS) -> Log:
    """Reads a log; `interval_ms` is the time between lines that carry no date.

    Raises:
        UserError: no such file, empty, or no line of tegrastats in it.
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
            f"{path}: no line of tegrastats in {len(numbered)}, the first is "
            f"'{numbered[0][1].strip()[:60]}', expected '... RAM 2104/7620MB ... CPU [12%@1510,...'"
        )
    broken = tuple(number for number, sample in parsed if sample is None)
    return Log(samples, _seconds(samples, interval_ms / 1000), broken)


def summarise(log: Log) -> dict[str, Any]:
    """Means and extremes: `ram_mb`, `cpu_percent`, `gpu_percent`, `gpu_mhz`, `celsius`, `watts`.

    What the log does not tell is None; sensors and rails are by their names on the board.
    """
    samples = log.samples
    return {
        "samples": len(samples),
        "seconds": round(log.seconds[-1], 1),
        "broken_lines": list(log.broken),
        "ram_total_mb": samples[-1].ram_total_mb,
        "ram_mb": _spread([float(s.ram_mb) for s in samples]),
        "cpu_percent": _spread([s.cpu for s in samples]),
        "gpu_percent": _spread([s.gpu for s in samples if s.gpu is not None]),
        "gpu_mhz": _spread([s.gpu_mhz for s in samples if s.gpu_mhz is not None]),
        "celsius": _spreads([s.celsius for s in samples]),
        "watts": _spreads([s.watts for s in samples]),
    }


def as_lines(found: dict[str, Any]) -> list[str]:
    """The summary for a person."""
    lines = [f"{found['samples']} samples over {found['seconds']:g} s"]
    rows = [
        (f"RAM, of {found['ram_total_mb']} MB", found["ram_mb"], "MB"),
        ("CPU", found["cpu_percent"], "%"),
        ("GPU", found["gpu_percent"], "%"),
        ("GPU clock", found["gpu_mhz"], "MHz"),
        *((name, spread, "W") for name, spread in found["watts"].items()),
        *((name, spread, "C") for name, spread in found["celsius"].items()),
    ]
    for name, spread, unit in rows:
        told = (
            f"mean {spread['mean']:8.1f}  highest {spread['max']:8.1f} {unit}"
            if spread
            else "not told by this log"
        )
        lines.append(f"  {name:<24}{told}")
    broken = found["broken_lines"]
    if broken:
        lines.append(f"left out: {len(broken)} broken lines, the first is line {broken[0]}")
    return lines


def draw(log: Log, path: Path) -> None:
    """Writes a picture, .png, .svg or .pdf: load, memory, power and temperatures over time.

    Raises:
        UserError: matplotlib is missing, an unknown suffix, or the file cannot be written.
    """
    figure = new_figure(9, 9)
    load, memory, power, heat = figure.subplots(4, 1, sharex=True)
    x, samples = log.seconds, log.samples
    load.plot(x, [s.cpu for s in samples], label="CPU, mean of its cores")
    gpu = [(t, s.gpu) for t, s in zip(x, samples, strict=True) if s.gpu is not None]
    if gpu:
        load.plot(*zip(*gpu, strict=True), label="GPU (GR3D)")
    load.set(ylabel="load, %", ylim=(0, 105), title="tegrastats")
    memory.plot(x, [s.ram_mb / 1024 for s in samples], label="RAM in use")
    memory.axhline(samples[-1].ram_total_mb / 1024, color="grey", ls=":", label="RAM there is")
    memory.set(ylabel="GiB", ylim=(0, None))
    _curves(power, x, [s.watts for s in samples])
    power.set(ylabel="power, W", ylim=(0, None))
    _curves(heat, x, [s.celsius for s in samples])
    heat.set(ylabel="temperature, °C", xlabel="seconds")
    for axes in (load, memory, power, heat):
        axes.grid(alpha=0.3)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize=8)
    save_figure(figure, path)


def _time(text: str) -> datetime | None:
    try:
        return datetime.strptime(text, "%m-%d-%Y %H:%M:%S")
    except ValueError:  # a broken line with a 13th month
        return None


def _seconds(samples: tuple[Sample, ...], interval_s: float) -> tuple[float, ...]:
    """By the dates where every line has one, lines of one second spread over it; else by count."""
    times = [s.time for s in samples if s.time is not None]
    if len(times) < len(samples) or times != sorted(times):
        return tuple(i * interval_s for i in range(len(samples)))
    found: list[float] = []
    for time, same in groupby(times):
        count = len(list(same))
        start = (time - times[0]).total_seconds()
        found += [start + i / count for i in range(count)]
    return tuple(found)


def _spread(values: list[float]) -> dict[str, float] | None:
    if not values:
        return None
    spread = {"mean": fmean(values), "min": min(values), "max": max(values)}
    return {name: round(value, 3) for name, value in spread.items()}


def _names(rows: Iterable[dict[str, float]]) -> list[str]:
    return list(dict.fromkeys(name for row in rows for name in row))


def _spreads(rows: list[dict[str, float]]) -> dict[str, Any]:
    return {name: _spread([row[name] for row in rows if name in row]) for name in _names(rows)}


def _curves(axes: Any, x: tuple[float, ...], rows: list[dict[str, float]]) -> None:
    for name in _names(rows):
        points = [(t, row[name]) for t, row in zip(x, rows, strict=True) if name in row]
        axes.plot(*zip(*points, strict=True), label=name)
