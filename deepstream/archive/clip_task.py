"""One clip of an archive, in a worker process: run the graph, write its polyps."""

from __future__ import annotations

import contextlib
import shutil
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from deepstream.archive.clips import Archive, Clip
from deepstream.archive.results import (
    Facts,
    masks_path,
    parquet_path,
    remove_stale,
    write_parquet,
)
from deepstream.io.output import NOTHING
from deepstream.platforms.gstreamer_platform import GStreamerSettings
from deepstream.player import Ending
from deepstream.run import RunSettings, run
from deepstream.run_summary import failure
from xpnet.errors import UserError
from xpnet.files import check_writable, move_into_place
from xpnet.host.processes import limit_heaps

MAX_ATTEMPTS = 2
"""How often a clip is started whose process ends without a result."""


@dataclass(frozen=True)
class TaskSettings:
    """What all clips of an archive have in common.

    Attributes:
        input: The archive: a folder, or the address of a bucket.
        output: Folder of the results.
        work: Private folder for incomplete files, on the file system of the results.
        repository: The Triton model repository.
        model: A model of it.
        card_sha256: Checksum of the model's card.
        backend: A runtime of xpnet.serving.cpu_runtimes.
        threads: Threads of inference.
        masks: Whether a clip with masks is written for each clip.
    """

    input: str
    output: Path
    work: Path
    repository: Path
    model: str
    card_sha256: str
    backend: str
    threads: int
    masks: bool


@dataclass(frozen=True)
class ClipResult:
    """How a clip ended.

    Attributes:
        clip: Its name.
        frames: Frames that were read.
        frames_with_polyp: Those that show a polyp.
        seconds: Time that it took.
        failure: Why it failed, in one line; empty if it is done.
    """

    clip: str
    frames: int = 0
    frames_with_polyp: int = 0
    seconds: float = 0.0
    failure: str = ""


def run_clip(row: dict[str, Any], settings: TaskSettings) -> dict[str, Any]:
    """Do one clip; every failure belongs to it alone.

    Args:
        row: `number` of the clip in the job, and the fields of Clip.
        settings: What all clips have in common.

    Returns:
        The fields of ClipResult.
    """
    limit_heaps()
    start = time.monotonic()
    clip = Clip(row["name"], row["size"], row["modified_ns"])
    facts = None
    try:
        facts = _attempt(clip, row["number"], settings)
        failed = facts.failure
    except UserError as error:
        failed = str(error)
    except Exception as error:
        failed = f"{type(error).__name__}: {error}"
    # Those of another model beside the new ones of other clips would look like results of this job.
    with contextlib.suppress(OSError):  # if they cannot be removed, the clip failed by that, too
        remove_stale(settings.output, clip, settings.model, settings.card_sha256)
    return asdict(
        ClipResult(
            clip.name,
            facts.frames if facts else 0,
            facts.frames_with_polyp if facts else 0,
            time.monotonic() - start,
            " ".join(failed.split()),
        )
    )


def _attempt(clip: Clip, number: int, settings: TaskSettings) -> Facts:
    """Do a clip in a private folder, unless its process ended too often.

    Args:
        clip: The clip.
        number: Its number in the job.
        settings: What all clips have in common.

    Raises:
        UserError: As `_run`, or the process of this clip ended too often.
        OSError: The folder for incomplete files cannot be written.
    """
    if _count_attempt(settings.work / f"attempts-{number}") > MAX_ATTEMPTS:
        raise UserError(f"its process ended {MAX_ATTEMPTS} times: killed, crashed or out of memory")
    folder = settings.work / f"clip-{number}"
    shutil.rmtree(folder, ignore_errors=True)  # of a process that ended
    try:
        folder.mkdir(mode=0o700)
        return _run(clip, folder, settings)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _count_attempt(marker: Path) -> int:
    """Return which attempt this is, from 1; the file grows by a byte with each."""
    with marker.open("ab") as stream:
        stream.write(b".")
        return stream.tell()


def _run(clip: Clip, folder: Path, settings: TaskSettings) -> Facts:
    """Run the graph over a clip and move what it wrote to its final names.

    Args:
        clip: The clip.
        folder: A private folder for incomplete files.
        settings: What all clips have in common.

    Raises:
        UserError: No frame of the clip can be decoded, or a file cannot be written.
    """
    lines, drawn, table = folder / "polyps.jsonl", folder / "masks.mp4", folder / "polyps.parquet"
    final, with_masks = (at(settings.output, clip.name) for at in (parquet_path, masks_path))
    # Known before the clip is computed, which may take an hour.
    final.parent.mkdir(parents=True, exist_ok=True)
    for path in (final, with_masks) if settings.masks else (final,):
        check_writable(path)
    with Archive(settings.input).local_file(clip.name, folder) as path:
        try:
            summary = run(
                RunSettings(
                    input=path,
                    output=drawn if settings.masks else NOTHING,
                    model=settings.model,
                    repository=settings.repository,
                    polyps=lines,
                    platform=GStreamerSettings(settings.backend, threads=settings.threads),
                )
            )
        except UserError as error:
            # The line starts with the clip's name already, and a copy's name says nothing.
            reason = str(error).removeprefix(f"{path}: ").replace(str(path), clip.name)
            raise UserError(reason) from error
    if summary["ending"] == Ending.INTERRUPTED.value:
        raise KeyboardInterrupt
    facts = Facts(
        clip,
        settings.model,
        settings.card_sha256,
        settings.backend,
        settings.masks,
        summary["frames"],
        summary["frames_with_polyp"],
        failure(summary).replace(str(path), clip.name),
    )
    with lines.open(encoding="utf-8") as stream:
        write_parquet(table, stream, facts)
    if settings.masks:
        move_into_place(drawn, with_masks)
    move_into_place(table, final)  # the last one: it says that the clip is done
    return facts
