"""Writing files: under a temporary name first, then renamed."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from xpnet.checksums import CHECKSUMS, updated_list
from xpnet.errors import UserError

MAX_NAME_BYTES = 255
"""Longest name of a file on Linux's file systems."""


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path in the folder of `path`; rename it to `path` on success.

    After an exception the temporary file is removed and an existing `path` is unchanged. If `path`
    is a symbolic link, the file that it names is replaced, not the link. The list of checksums gets
    the new one of a file that it has (xpnet.checksums).

    Args:
        path: The final name.

    Raises:
        UserError: The folder is missing or not writable, or the disk is full.
    """
    path = Path(path)
    check_writable(path)
    final = Path(os.path.realpath(path))
    partial = final.with_name(_partial_name(final.name))
    try:
        yield partial
        move_into_place(partial, final)
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror or error}") from error
    finally:
        partial.unlink(missing_ok=True)
    if (text := updated_list(final)) is not None:
        write_text(CHECKSUMS, text)


def move_into_place(partial: Path, final: Path) -> None:
    """Give a complete file its final name, on the same file system.

    Args:
        partial: The complete file.
        final: Its name; a file that has it is replaced.

    Raises:
        OSError: The disk is full, or the name cannot be given.
    """
    with partial.open("rb") as written:
        # The content must be on disk before the name, even after a power cut
        os.fsync(written.fileno())
    os.replace(partial, final)


def _partial_name(name: str) -> str:
    """Return the temporary name of a file, shortened if it would be too long."""
    ending = f".{os.getpid()}.part"
    start = os.fsencode(name)[: MAX_NAME_BYTES - len(ending) - 1]
    return f".{start.decode(errors='ignore')}{ending}"


def make_folder(path: Path) -> None:
    """Make a folder, and those above it, unless it is there.

    Raises:
        UserError: It cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{path}: cannot be created: {error.strerror}") from error


def check_writable(path: Path) -> None:
    """Check that a file can be written, before any work is done. Raises UserError."""
    if len(os.fsencode(Path(path).name)) > MAX_NAME_BYTES:
        raise UserError(f"{path}: its name is too long, expected at most {MAX_NAME_BYTES} bytes")
    # Renaming a file over a device would replace it: for root that includes /dev/null.
    if Path(path).exists() and not (Path(path).is_file() or Path(path).is_dir()):
        raise UserError(f"{path}: is a device, pipe or socket, expected the name of a file")
    folder = Path(os.path.realpath(path)).parent
    if not folder.is_dir():
        raise UserError(f"{path}: the folder {folder} does not exist")
    if Path(path).is_dir():
        raise UserError(f"{path}: is a folder, expected the name of a file to write")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UserError(f"{path}: the folder {folder} is not writable")


def check_distinct(outputs: Iterable[Path | None], inputs: Iterable[Path] = ()) -> None:
    """Check that no output is an input, and no two outputs are the same file; links are followed.

    Args:
        outputs: Files to write; None for an output that is not wanted.
        inputs: Files that are read.

    Raises:
        UserError: Two of them are the same file.
    """
    taken: list[Path] = []
    for path in outputs:
        if path is None:
            continue
        if any(_same(path, one) for one in inputs):
            raise UserError(f"{path}: is the input itself: give the output another name")
        if any(_same(path, other) for other in taken):
            raise UserError(f"{path}: is named for two outputs: give each a name of its own")
        taken.append(path)


def _same(one: Path, other: Path) -> bool:
    if one.exists() and other.exists():
        return one.samefile(other)
    return one.resolve() == other.resolve()


def write_bytes(path: Path, content: bytes, private: bool = False) -> None:
    """Write bytes through a temporary file. Raises UserError as `replacing` does.

    Args:
        path: The final name.
        content: The content.
        private: Whether only its owner may read the file.
    """
    with replacing(path) as partial:
        if private:
            partial.touch(0o600)
        partial.write_bytes(content)


def write_text(path: Path, text: str, private: bool = False) -> None:
    """Write text in UTF-8 through a temporary file.

    Args:
        path: The final name.
        text: The content.
        private: Whether only its owner may read the file.
    """
    write_bytes(path, text.encode(), private)
