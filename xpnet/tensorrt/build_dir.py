"""Files that plan builds share: the output directory and TensorRT's timing cache."""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from xpnet.errors import UserError
from xpnet.files import write_bytes

log = logging.getLogger("xpnet.build")

TEMPORARY_FILES = (".*.plan", ".*.part")
"""Glob patterns of the files that an interrupted build can leave behind."""


@contextmanager
def exclusive_build_dir(directory: Path) -> Iterator[None]:
    """Lock a build directory and delete the temporary files of interrupted builds.

    Waits until no other process holds the lock. The lock is on the directory itself; the kernel
    releases it when the process ends, for whatever reason.

    Args:
        directory: The directory that plans are written to.

    Yields:
        Nothing; the lock is held inside the `with` block.

    Raises:
        UserError: The directory cannot be locked, or an OSError occurred inside the block, for
            example because the disk is full.
    """
    try:
        descriptor = os.open(directory, os.O_RDONLY)
        try:
            _lock(descriptor, directory)
            for pattern in TEMPORARY_FILES:
                for path in directory.glob(pattern):
                    path.unlink(missing_ok=True)
            yield
        finally:
            os.close(descriptor)
    except OSError as error:
        reason = error.strerror or error
        raise UserError(f"{directory}: cannot build a plan here: {reason}") from error


def _lock(descriptor: int, directory: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        log.info("%s: another build is running; waiting until it ends", directory)
        fcntl.flock(descriptor, fcntl.LOCK_EX)


@contextmanager
def timing_cache_copy(cache: Path) -> Iterator[Path]:
    """Provide a copy of the timing cache, and write it back when the build succeeds.

    A failed or interrupted build leaves `cache` unchanged. A cache that cannot be read or written
    is logged as a warning, because it only makes the next build slower.

    Args:
        cache: The timing cache. It need not exist.

    Yields:
        Path of the copy, in a temporary directory. It does not exist if there was nothing to copy.
    """
    with tempfile.TemporaryDirectory() as directory:
        copy = Path(directory) / "timings"
        try:
            shutil.copyfile(cache, copy)
        except FileNotFoundError:
            pass
        except OSError as error:
            copy.unlink(missing_ok=True)
            log.warning("cannot read the timing cache %s: %s", cache, error.strerror)
        yield copy
        try:
            if copy.is_file():
                write_bytes(cache, copy.read_bytes())
        except UserError as error:
            log.warning("cannot write the timing cache: %s", error)
