"""Writing files so that nothing half-written ever stands under its final name."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from xpnet.errors import UserError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Gives a temporary path in the folder of `path`; renames it to `path` on success.

    On any exception the temporary file is removed and an existing `path` stays untouched.

    Raises:
        UserError: the folder is missing or not writable, or the disk is full.
    """
    path = Path(path)
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    check_writable(path)
    try:
        yield partial
        with partial.open("rb") as written:
            os.fsync(written.fileno())  # the content before the name, also through a power cut
        os.replace(partial, path)
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror or error}") from error
    finally:
        partial.unlink(missing_ok=True)


def check_writable(path: Path) -> None:
    """Raises UserError, before any work is done, where `path` could not be written at its end."""
    folder = Path(path).absolute().parent
    if not folder.is_dir():
        raise UserError(f"{path}: the folder {folder} does not exist")
    if Path(path).is_dir():
        raise UserError(f"{path}: is a folder, expected the name of a file to write")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UserError(f"{path}: the folder {folder} is not writable")


def check_distinct(outputs: Iterable[Path | None], inputs: Iterable[Path] = ()) -> None:
    """Raises UserError where two outputs are one file, or where one would replace an input.

    Links are followed; None is an output that nobody asked for.
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


def write_bytes(path: Path, content: bytes) -> None:
    """Writes `content` through a temporary name. Raises UserError as `replacing`."""
    with replacing(path) as partial:
        partial.write_bytes(content)


def write_text(path: Path, text: str, private: bool = False) -> None:
    """Writes `text` in UTF-8 through a temporary name; `private`: for its owner alone."""
    with replacing(path) as partial:
        if private:
            partial.touch(0o600)
        partial.write_text(text, encoding="utf-8")
