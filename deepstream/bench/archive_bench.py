"""`xpnet bench archive`: an archive of short clips, beside a loop over `xpnet run`."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deepstream.archive.results import parquet_path
from deepstream.bench.clips import scaled_clip
from deepstream.io.source import open_clip
from xpnet.errors import UserError
from xpnet.host.cpu import measured_here
from xpnet.host.processes import descendants, end_with_parent, is_running
from xpnet.paths import DEMO_CLIP
from xpnet.serving.cpu_runtimes import best_runtime
from xpnet.serving.model_config import DEFAULT_MODEL

CORRUPT = "corrupt.mp4"
CORRUPT_BYTES = 3000
"""The corrupt clip is the start of a good one."""
POLL_S = 0.05


@dataclass(frozen=True)
class ArchiveBenchSettings:
    """What is measured.

    Attributes:
        clips: Number of clips; one of them is corrupt.
        seconds: Length of each.
        workers: Number of processes; 0 for one on each core.
        clip: What they are cut from.
    """

    clips: int = 40
    seconds: float = 2.0
    workers: int = 0
    clip: Path = DEMO_CLIP

    def __post_init__(self) -> None:
        if self.clips < 4 or not 0 < self.seconds < math.inf:  # also false for nan
            raise UserError(
                f"{self.clips} clips of {self.seconds:g} s: expected at least 4, and more than 0 s"
            )
        if self.workers < 0:
            raise UserError(f"--workers {self.workers}: expected at least 1")


def bench_archive(settings: ArchiveBenchSettings) -> dict[str, Any]:
    """Do an archive by a loop over `xpnet run`, by `xpnet archive`, and by one that is killed.

    Args:
        settings: What is measured.

    Returns:
        The report.

    Raises:
        UserError: A run failed in another way than by the corrupt clip.
    """
    backend = best_runtime()
    with tempfile.TemporaryDirectory(prefix="xpnet-bench-") as temporary:
        folder = Path(temporary)
        recordings = folder / "recordings"
        names = cut_clips(settings, recordings)
        loads = [os.getloadavg()[0]]
        loop, rows = run_loop(recordings, names, folder, backend)
        loads.append(os.getloadavg()[0])
        whole = run_job(settings, recordings, folder / "whole", backend)
        loads.append(os.getloadavg()[0])
        kept = kill_half_way(settings, recordings, folder / "killed", backend)
        resumed = run_job(settings, recordings, folder / "killed", backend)
        again = {path: path.stat().st_mtime_ns for path in kept} != kept
        found = [read_rows(folder / name, names) for name in ("whole", "killed")]
    frames = sum(len(lines) for lines in rows.values())
    return {
        "clips": settings.clips,
        "corrupt": 1,
        "clip_seconds": settings.seconds,
        "model": DEFAULT_MODEL,
        "backend": backend,
        "workers": whole["workers"],
        "loop": {
            "done": len(rows),
            "failed": 1,  # run_loop ends with an error if the corrupt one does not fail
            "frames": frames,
            "seconds": round(loop, 2),
            "fps": round(frames / loop, 2),
            "load": loads[:2],
        },
        "archive": {**_figures(whole), "load": loads[1:]},
        "killed": {"done": len(kept)},
        "resumed": {**_figures(resumed), "done_again": again},
        "frames_that_differ": [_differences(rows, one) for one in found],
        **measured_here(),
    }


def cut_clips(settings: ArchiveBenchSettings, folder: Path) -> list[str]:
    """Cut clips from all parts of one, and add a corrupt one; return the names of the good ones.

    Args:
        settings: Number and length of the clips.
        folder: Where they are written.
    """
    folder.mkdir()
    source = open_clip(settings.clip, 25)
    last_s = max(0.0, source.seconds - settings.seconds)
    names = []
    for number in range(settings.clips - 1):
        names.append(f"{number:03}.mp4")
        start_s = last_s * number / (settings.clips - 2)
        size = (source.height, source.width)
        scaled_clip(settings.clip, folder / names[-1], size, settings.seconds, start_s)
    (folder / CORRUPT).write_bytes((folder / names[0]).read_bytes()[:CORRUPT_BYTES])
    return names


def run_loop(
    recordings: Path, names: Sequence[str], folder: Path, backend: str
) -> tuple[float, dict[str, list[Any]]]:
    """Run `xpnet run` on one clip after the other.

    Args:
        recordings: The archive.
        names: The good clips; the corrupt one is tried, too.
        folder: For the polyps of each.
        backend: Runtime of the inference.

    Returns:
        Seconds, and each clip's rows.

    Raises:
        UserError: A good clip failed, or the corrupt one did not.
    """
    start = time.monotonic()
    for name in (*names, CORRUPT):
        words = [recordings / name, "--output", "none", "--backend", backend]
        done = _xpnet("run", *words, "--polyps", folder / f"{name}.jsonl").wait()
        if (done != 0) != (name == CORRUPT):
            raise UserError(f"xpnet run {name}: exit code {done}")
    seconds = time.monotonic() - start
    rows = {}
    for name in names:
        lines = (folder / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
        rows[name] = [_without_contours(json.loads(line)) for line in lines]
    return seconds, rows


def run_job(
    settings: ArchiveBenchSettings, recordings: Path, output: Path, backend: str
) -> dict[str, Any]:
    """Run `xpnet archive` to its end and return its summary.

    Args:
        settings: Number of workers.
        recordings: The archive.
        output: Folder of the results.
        backend: Runtime of the inference.

    Raises:
        UserError: Other clips failed than the corrupt one.
    """
    _job(settings, recordings, output, backend).wait()
    try:
        summary: dict[str, Any] = json.loads((output / "summary.json").read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError("xpnet archive failed (see above)") from error
    failed = [clip["clip"] for clip in summary["failed"]]
    if failed != [CORRUPT]:
        raise UserError(f"xpnet archive: failed clips {failed}, expected only {CORRUPT}")
    return summary


def kill_half_way(
    settings: ArchiveBenchSettings, recordings: Path, output: Path, backend: str
) -> dict[Path, int]:
    """Kill `xpnet archive` when half of the clips are done; return their files and times in ns.

    Args:
        settings: Number of clips.
        recordings: The archive.
        output: Folder of the results.
        backend: Runtime of the inference.

    Raises:
        UserError: It ended before.
    """
    job = _job(settings, recordings, output, backend)
    while len(list(output.glob("*.parquet"))) < settings.clips // 2:
        if job.poll() is not None:
            raise UserError(f"xpnet archive ended with {job.returncode} before it was killed")
        time.sleep(POLL_S)
    workers = [number for number in descendants(job.pid) if _is_worker(number)]
    job.kill()
    job.wait()
    # They notice a moment later, and may complete a clip until then.
    while any(is_running(number) for number in workers):
        time.sleep(POLL_S)
    return {path: path.stat().st_mtime_ns for path in output.glob("*.parquet")}


def _is_worker(process: int) -> bool:
    """Return whether a process computes clips; Ray names it after the function."""
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes().startswith(b"ray::Map(run_clip")
    except OSError:  # it ended meanwhile
        return False


def read_rows(output: Path, names: Sequence[str]) -> dict[str, list[Any]]:
    """Return each clip's rows of its Parquet file.

    Args:
        output: Folder of the results.
        names: The clips.
    """
    from pyarrow import parquet

    columns = ["frame", "time", "polyps"]
    return {
        name: parquet.read_table(parquet_path(output, name), columns=columns).to_pylist()
        for name in names
    }


def _job(
    settings: ArchiveBenchSettings, recordings: Path, output: Path, backend: str
) -> subprocess.Popen[bytes]:
    words = [recordings, "--output", output, "--workers", settings.workers, "--backend", backend]
    return _xpnet("archive", *words)


def _xpnet(*words: object) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "xpnet.cli", *map(str, words)]
    return subprocess.Popen(end_with_parent(command), stdout=sys.stderr)


def _without_contours(row: dict[str, Any]) -> dict[str, Any]:
    for polyp in row["polyps"] or ():
        del polyp["contour"]
    return row


def _differences(ours: dict[str, list[Any]], theirs: dict[str, list[Any]]) -> int:
    """Return the number of frames whose rows differ, or are missing in one of both."""
    count = 0
    for name, rows in ours.items():
        count += abs(len(rows) - len(theirs[name]))
        count += sum(one != other for one, other in zip(rows, theirs[name], strict=False))
    return count


def _figures(summary: dict[str, Any]) -> dict[str, Any]:
    found = {key: summary[key] for key in ("done", "skipped", "frames", "seconds", "fps")}
    return {**found, "failed": len(summary["failed"])}
