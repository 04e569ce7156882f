"""`xpnet bench check`: ratios of times, the file that holds them, and their comparison.

A time depends on the machine and on what else runs on it; a ratio of two times that were measured
in turn hardly does. All ratios are defined so that a larger one is worse.
"""

from __future__ import annotations

import json
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xpnet.errors import UserError
from xpnet.files import write_text

LEAST_TOLERANCE = 0.10
"""A change of less is not reported: other data in the caches can cause it."""
SPREADS = 3.0
"""The tolerance in units of the largest deviation of a run from the median of the runs."""
NOTE = "Written by `xpnet bench check --update`. A larger ratio is worse."


@dataclass(frozen=True)
class Ratio:
    """One ratio of two times, each the sum of those of the workloads `above` and `below`."""

    name: str
    above: tuple[str, ...]
    below: tuple[str, ...]
    means: str
    look_at: str  # where the cause of a larger ratio is to be searched


RATIOS = (
    Ratio("lite / unet", ("lite fp32",), ("unet fp32",),
          "`xpnet_lite` at its size over the U-Net at 256 pixels, both FP32 in ONNX Runtime",
          "triton_models/xpnet_lite_onnx, training/models, training/export"),
    Ratio("student / unet", ("student fp32",), ("unet fp32",),
          "`xpnet` at its size over the U-Net at 256 pixels, both FP32 in ONNX Runtime",
          "triton_models/xpnet_onnx, training/export/forms"),
    Ratio("lite served / unet", ("lite openvino",), ("unet fp32",),
          "`xpnet_lite` in OpenVINO, as a CPU with bfloat16 serves it, over the same U-Net",
          "xpnet/serving/cpu_runtimes.py, the version of OpenVINO"),
    Ratio("student served / unet", ("student openvino",), ("unet fp32",),
          "`xpnet` in OpenVINO, as a CPU with bfloat16 serves it, over the same U-Net",
          "xpnet/serving/cpu_runtimes.py, the version of OpenVINO"),
    Ratio("lite int8 / fp32", ("lite int8",), ("lite openvino fp32",),
          "the INT8 graph of `xpnet_lite` over its FP32 graph, both in OpenVINO",
          "triton_models/xpnet_lite/onnx/int8.onnx, training/export/precision.py"),
    Ratio("pre + post / inference", ("preprocess", "mask"), ("lite fp32",),
          "frame to tensor and map to mask at 1080p over `xpnet_lite` FP32 in ONNX Runtime",
          "xpnet/frames.py"),
    Ratio("outline / copy", ("outline",), ("copy",),
          "contour of a mask at 1080p over a copy of the frame's planes",
          "outline_of in xpnet/overlay.py"),
    Ratio("overlay / copy", ("overlay",), ("copy",),
          "drawing on the planes of a 1080p frame over a copy of them",
          "draw_on_planes in xpnet/overlay.py"),
    Ratio("clip to masks / inference", ("clip to masks",), ("lite fp32",),
          "a frame of the clip from decoding to its mask over inference alone",
          "xpnet/images.py, xpnet/frames.py, xpnet/serving/onnx_inference.py"),
)  # fmt: skip


def per_round(ratio: Ratio, times: dict[str, list[float]]) -> list[float] | None:
    """Return the ratio of each round, or None if one of its workloads was not timed.

    Args:
        ratio: One of RATIOS.
        times: Seconds of each workload in each round.
    """
    if not all(workload in times for workload in (*ratio.above, *ratio.below)):
        return None
    rounds = range(len(times[ratio.below[0]]))
    return [
        sum(times[workload][n] for workload in ratio.above)
        / sum(times[workload][n] for workload in ratio.below)
        for n in rounds
    ]


def ratios_of(times: dict[str, list[float]]) -> dict[str, float]:
    """Return the median over the rounds of every ratio whose workloads were timed.

    Args:
        times: Seconds of each workload in each round.
    """
    found = {ratio.name: per_round(ratio, times) for ratio in RATIOS}
    return {name: statistics.median(values) for name, values in found.items() if values}


def with_tolerance(runs: list[float]) -> dict[str, Any]:
    """Return what the file holds of a ratio: `ratio`, `tolerance` (relative) and all `runs`.

    Args:
        runs: The ratio in each of several runs.
    """
    middle = statistics.median(runs)
    spread = max(abs(run / middle - 1) for run in runs)
    return {
        "ratio": round(middle, 4),
        "tolerance": round(max(LEAST_TOLERANCE, SPREADS * spread), 3),
        "runs": [round(run, 4) for run in runs],
    }


@dataclass(frozen=True)
class Row:
    """The comparison of one ratio."""

    name: str
    kept: float | None
    tolerance: float | None
    found: float

    @property
    def change(self) -> float:
        """The relative change; 0 without a kept ratio."""
        return self.found / self.kept - 1 if self.kept else 0.0

    @property
    def verdict(self) -> str:
        """`worse`, `better`, `same`, or `new` for a ratio that is not in the file."""
        if self.kept is None or self.tolerance is None:
            return "new"
        if self.change > self.tolerance:
            return "worse"
        # As many times faster as `worse` is slower
        return "better" if self.kept / self.found - 1 > self.tolerance else "same"


def compare(found: dict[str, float], entry: dict[str, Any]) -> list[Row]:
    """Compare measured ratios with those of the file.

    Args:
        found: Ratios by name.
        entry: The entry of this type of machine in the file; empty if there is none.
    """
    kept = entry.get("ratios", {})
    return [
        Row(name, kept.get(name, {}).get("ratio"), kept.get(name, {}).get("tolerance"), value)
        for name, value in found.items()
    ]


def as_lines(rows: list[Row]) -> list[str]:
    """Return the comparison as a table for a terminal."""
    lines = [f"{'ratio':<28}{'kept':>9}{'now':>9}{'change':>9}{'allowed':>9}  "]
    for row in rows:
        if row.kept is None or row.tolerance is None:
            lines.append(f"{row.name:<28}{'-':>9}{row.found:>9.4f}{'':>9}{'':>9}  new")
        else:
            lines.append(
                f"{row.name:<28}{row.kept:>9.4f}{row.found:>9.4f}{row.change:>+9.1%}"
                f"{row.tolerance:>+9.1%}  {row.verdict}"
            )
    return [line.rstrip() for line in lines]


def read_file(path: Path) -> dict[str, Any]:
    """Return the entries of the file by type of machine; none if there is no file yet.

    Args:
        path: The file.

    Raises:
        UserError: It is not such a file.
    """
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))["machines"]
        for entry in entries.values():
            for kept in entry["ratios"].values():
                if not (kept["ratio"] > 0 and kept["tolerance"] > 0):
                    raise ValueError("a ratio or a tolerance is not above 0")
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: not a file of `xpnet bench check --update`: {error}") from error
    return dict(entries)


def write_entry(path: Path, machine: str, entry: dict[str, Any]) -> dict[str, Any]:
    """Replace the entry of one type of machine, and return all entries.

    Args:
        path: The file.
        machine: The type of the machine.
        entry: Its ratios, and where, when and with what they were measured.

    Raises:
        UserError: A ratio that the entry had is not in the new one, or the file cannot be written.
    """
    entries = read_file(path)
    lost = entries.get(machine, {}).get("ratios", {}).keys() & {ratio.name for ratio in RATIOS}
    lost -= entry["ratios"].keys()
    if lost:
        raise UserError(
            f"{path}: not updated: {', '.join(sorted(lost))} would be lost, as this machine lacks "
            "a part now"
        )
    entries = dict(sorted({**entries, machine: entry}.items()))
    write_text(path, json.dumps({"note": NOTE, "machines": entries}, indent=2) + "\n")
    return entries


def as_markdown(entries: dict[str, Any]) -> str:
    """Return the ratios of the file as tables, one for each type of machine."""
    lines = ["| ratio | of what | if it got worse, look at |", "|---|---|---|"]
    lines += [f"| {r.name} | {r.means} | {r.look_at} |" for r in RATIOS]
    for entry in entries.values():
        lines += ["", "| ratio | kept | allowed | runs |", "|---|---|---|---|"]
        for name, kept in entry["ratios"].items():
            runs = " ".join(f"{run:.4f}" for run in kept["runs"])
            lines.append(f"| {name} | {kept['ratio']:.4f} | +{kept['tolerance']:.1%} | {runs} |")
        versions = ", ".join(f"{name} {number}" for name, number in entry["versions"].items())
        lines += [
            "",
            f"{entry['machine']}, {entry['cores']} cores, {entry['date']}; {versions}; "
            f"{entry['rounds']} rounds a run; load average before the start "
            f"{entry['load_before']:.2f}, after the end {entry['load_after']:.2f}",
        ]
    return "\n".join(lines) + "\n"
