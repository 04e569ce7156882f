"""All clips of an archive, several at once in processes of Ray Data."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from deepstream.archive.clip_task import ClipResult, TaskSettings, run_clip
from deepstream.archive.clips import Archive, Clip
from deepstream.archive.ray_session import ray_session
from deepstream.archive.results import is_done
from deepstream.gstreamer import require_elements
from xpnet.errors import UserError
from xpnet.host.cpu import measured_here
from xpnet.paths import MODEL_REPOSITORY, onnx_path
from xpnet.serving.cpu_runtimes import AUTO, best_runtime
from xpnet.serving.model_config import DEFAULT_MODEL
from xpnet.serving.onnx_inference import OnnxInference

WORK = ".xpnet-archive"
"""Name of the folder for incomplete files, in the folder of the results."""

OnResult = Callable[[ClipResult, int, int], None]
"""Called with each clip that ended, how many ended so far, and how many there are."""


@dataclass(frozen=True)
class ArchiveSettings:
    """One job.

    Attributes:
        input: The archive: a folder, or an address that pyarrow.fs understands.
        output: Folder of the results; created if it is missing.
        workers: Number of processes; 0 for one on each core. No more start than there are clips.
        masks: Whether a clip with masks is written for each clip.
        model: A model of the repository.
        repository: The Triton model repository.
        backend: A runtime of xpnet.serving.cpu_runtimes, or `auto`.
    """

    input: str
    output: Path
    workers: int = 0
    masks: bool = False
    model: str = DEFAULT_MODEL
    repository: Path = MODEL_REPOSITORY
    backend: str = AUTO


def run_archive(settings: ArchiveSettings, on_result: OnResult | None = None) -> dict[str, Any]:
    """Do the clips of an archive that are not done yet.

    Args:
        settings: The job.
        on_result: Called with each clip that ended, in this thread.

    Returns:
        The summary.

    Raises:
        UserError: The archive, the model, the folder of the results or Ray cannot be used.
    """
    require_elements()
    start = time.monotonic()
    cores = len(os.sched_getaffinity(0))
    if settings.workers < 0:
        raise UserError(f"--workers {settings.workers}: expected at least 1")
    archive = Archive(settings.input)
    clips = archive.clips()
    backend = best_runtime() if settings.backend == AUTO else settings.backend
    checksum = card_fingerprint(settings, backend)
    with work_folder(settings.output, archive) as work:
        todo = [
            clip
            for clip in clips
            if not is_done(settings.output, clip, settings.model, checksum, settings.masks)
        ]
        workers = min(settings.workers or cores, len(todo))
        task = TaskSettings(
            input=settings.input if archive.folder is None else str(archive.folder),
            output=settings.output.absolute(),
            work=work.absolute(),
            repository=settings.repository.absolute(),
            model=settings.model,
            card_sha256=checksum,
            backend=backend,
            threads=max(1, cores // max(1, workers)),
            masks=settings.masks,
        )
        results = []
        for result in run_clips(todo, task, workers):
            results.append(result)
            if on_result is not None:
                on_result(result, len(results), len(todo))
    failed = sorted((r for r in results if r.failure), key=lambda r: r.clip)
    frames, seconds = sum(r.frames for r in results), time.monotonic() - start
    return {
        "input": archive.display_name,
        "output": str(settings.output),
        "model": settings.model,
        "card_sha256": checksum,
        "backend": backend,
        "workers": workers,
        "threads": task.threads,
        "clips": len(clips),
        "done": len(results) - len(failed),
        "skipped": len(clips) - len(todo),
        "failed": [{"clip": r.clip, "reason": r.failure} for r in failed],
        "frames": frames,
        "frames_with_polyp": sum(r.frames_with_polyp for r in results),
        "seconds": round(seconds, 2),
        "fps": round(frames / seconds, 2),
        **measured_here(),
    }


def run_clips(clips: Sequence[Clip], task: TaskSettings, workers: int) -> Iterator[ClipResult]:
    """Yield the result of each clip when it ends.

    A task whose process ends is started again by Ray; `run_clip` counts how often.

    Args:
        clips: What to do; nothing is started for none.
        task: What all clips have in common.
        workers: Number of processes, at most that of the clips.
    """
    if not clips:
        return
    with ray_session(workers) as data:
        rows = [{"number": number, **asdict(clip)} for number, clip in enumerate(clips)]
        # A block is a task: with one clip in each, no clip waits for another one.
        found = data.from_items(rows, override_num_blocks=len(rows)).map(
            partial(run_clip, settings=task),
            num_cpus=1,
            compute=data.TaskPoolStrategy(size=workers),
        )
        for row in found.iter_rows():
            yield ClipResult(**row)


def card_fingerprint(settings: ArchiveSettings, backend: str) -> str:
    """Return the fingerprint of the model's card, after loading the model once as the workers do.

    Args:
        settings: The job.
        backend: A runtime of xpnet.serving.cpu_runtimes.

    Raises:
        UserError: The model or the runtime cannot be used.
    """
    path = onnx_path(settings.repository / settings.model)
    with contextlib.closing(OnnxInference(path, backend, 1)) as inference:
        return inference.card.fingerprint()


@contextlib.contextmanager
def work_folder(output: Path, archive: Archive) -> Iterator[Path]:
    """Yield a private folder for incomplete files; what a killed job left in it is removed.

    Args:
        output: Folder of the results.
        archive: The archive, which must not contain it: clips with masks would be clips of it.

    Raises:
        UserError: Another job writes to the same folder, or it cannot be used.
    """
    root = archive.local_root
    if root is not None and output.resolve().is_relative_to(root.resolve()):
        raise UserError(f"{output}: is inside the archive {root}, expected another folder")
    work = output / WORK
    try:
        output.mkdir(mode=0o700, parents=True, exist_ok=True)
        work.mkdir(exist_ok=True)
        work.chmod(0o700)
        lock = (work / "lock").open("w", encoding="ascii")
    except OSError as error:
        raise UserError(f"{output}: cannot be used: {error.strerror}") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise UserError(f"{output}: another `xpnet archive` writes to this folder") from error
        _empty(work)
        try:
            yield work
        finally:
            shutil.rmtree(work, ignore_errors=True)


def _empty(work: Path) -> None:
    for path in work.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        elif path.name != "lock":
            path.unlink(missing_ok=True)
