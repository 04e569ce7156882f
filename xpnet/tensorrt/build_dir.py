"""What builds of plans share on the disk: the folder, one at a time, and TensorRT's timings."""

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


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """One build at a time, and none in what another one left that was killed.

    The lock is on the folder itself and ends with the process, however that ends.
    """
    try:
        handle = os.open(folder, os.O_RDONLY)
        try:
            _lock(handle, folder)
            for pattern in (".*.plan", ".*.part"):
                for left in folder.glob(pattern):
                    left.unlink(missing_ok=True)
            yield
        finally:
            os.close(handle)
    except OSError as error:
        reason = error.strerror or error
        raise UserError(f"{folder}: no plan can be built in it: {reason}") from error


def _lock(handle: int, folder: Path) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        log.info("%s: another build is at work here: waiting for it", folder)
        fcntl.flock(handle, fcntl.LOCK_EX)


@contextmanager
def timings(kept: Path) -> Iterator[Path]:
    """A copy of the timing cache, kept after a build: one that was cut off leaves the old one.

    A plan is worth more than the time of the next build, so a cache that cannot be read or written
    is only said.
    """
    with tempfile.TemporaryDirectory() as folder:
        own = Path(folder) / "timings"
        try:
            shutil.copyfile(kept, own)
        except FileNotFoundError:
            pass
        except OSError as error:
            own.unlink(missing_ok=True)
            log.warning("the timing cache %s is not read: %s", kept, error.strerror)
        yield own
        try:
            if own.is_file():
                write_bytes(kept, own.read_bytes())
        except UserError as error:
            log.warning("the timing cache is not kept: %s", error)
