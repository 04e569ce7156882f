"""Names, free space and leftovers of a folder with recordings."""

from __future__ import annotations

import logging
import os
import re
import shutil
from datetime import datetime
from pathlib import Path

from xpnet.errors import UserError

log = logging.getLogger("xpnet.recording")

MEBIBYTE = 2**20
UNFINISHED = ".part.mkv"
CUT_OFF = "-cut-off.mkv"
_UNFINISHED_NAME = re.compile(rf"(recording|kept)-\d{{8}}-\d{{6}}-\d+{re.escape(UNFINISHED)}")


def open_folder(folder: Path) -> None:
    """Make the folder if it is missing, readable by its owner only, and name what was cut off.

    A recording that was being written when the power failed is playable up to its last second. It
    gets a name that says so.

    Args:
        folder: Where recordings and stills go.

    Raises:
        UserError: It cannot be made or written to.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--record {folder}: cannot be made: {error.strerror}") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UserError(f"--record {folder}: is not writable")
    for path in sorted(folder.iterdir()):
        if _UNFINISHED_NAME.fullmatch(path.name):
            whole = path.with_name(path.name.removesuffix(UNFINISHED) + CUT_OFF)
            path.replace(whole)
            log.warning("%s: a recording was cut off; it is now %s", folder, whole.name)


def new_name(folder: Path, kind: str, suffix: str, now: datetime | None = None) -> Path:
    """Return an unused path such as recording-20261127-140305-1.mkv: date, time and a counter.

    Args:
        folder: Where the file goes.
        kind: `recording`, `kept` or `still`.
        suffix: Such as `.mkv`.
        now: Local time; None for the clock.
    """
    moment = (now or datetime.now()).strftime("%Y%m%d-%H%M%S")
    number = 1
    while any(folder.glob(f"{kind}-{moment}-{number}[.-]*")):
        number += 1
    return folder / f"{kind}-{moment}-{number}{suffix}"


def free_bytes(folder: Path) -> int:
    """Return how much more can be written to the folder's disk. Raises OSError."""
    return shutil.disk_usage(folder).free


def check_space(folder: Path, free: int, reserve: int) -> None:
    """Check that the reserve of the disk is free.

    Args:
        folder: Where recordings go.
        free: Free bytes of its disk.
        reserve: Bytes that stay free.

    Raises:
        UserError: Less than the reserve is free.
    """
    if free < reserve:
        raise UserError(
            f"{folder}: {free // MEBIBYTE} MiB free, expected at least {reserve // MEBIBYTE} MiB "
            "(--record-reserve)"
        )
