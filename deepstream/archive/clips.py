"""The clips of an archive: in a folder, or in a bucket that Arrow can read."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

from xpnet.addresses import without_credentials
from xpnet.errors import UserError, not_installed
from xpnet.paths import setup_command

SUFFIXES = (
    ".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi",
    ".mpg", ".mpeg", ".ts", ".m2ts", ".mts", ".wmv",
)  # fmt: skip
"""Endings of the names of video files; upper and lower case are the same."""
RECOVERED = "lost+found"
"""Folder of fragments at the root of a file system, which only root can read."""
COPY_BYTES = 1 << 20
"""Bytes of a remote file that are held in memory while it is copied."""


@dataclass(frozen=True)
class Clip:
    """A video file of an archive, as its file system lists it.

    Attributes:
        name: Its path within the archive, with `/`.
        size: Bytes.
        modified_ns: Time of the last change, in nanoseconds since 1970.
    """

    name: str
    size: int
    modified_ns: int


class Archive:
    """A folder of recordings, or a bucket such as s3://BUCKET/FOLDER.

    Attributes:
        display_name: Its name in messages, without credentials.
        folder: The folder; None for an address, whose clips are copied.
        local_root: The folder, or that of a file:// address; None for a bucket.
    """

    def __init__(self, address: str) -> None:
        """Open the archive.

        Args:
            address: A folder, or an address that pyarrow.fs understands.

        Raises:
            UserError: pyarrow is missing, there is no such folder, the address is not one, or it
                cannot be reached.
        """
        try:
            from pyarrow import fs
        except ImportError as error:
            raise not_installed(
                str(error.name), "xpnet archive", setup_command("archive")
            ) from error
        self.display_name = without_credentials(address)
        self.folder = None if "://" in address else Path(address).absolute()
        self.local_root = self.folder
        if self.folder is not None:
            if not self.folder.is_dir():
                raise UserError(f"{address}: no such folder of recordings")
            return
        try:
            self._files, self._root = fs.FileSystem.from_uri(address)
        except ValueError as error:  # its text contains the address, with the credentials
            raise UserError(
                f"{self.display_name}: expected a folder or an address of a bucket, such as "
                "s3://BUCKET/FOLDER or gs://BUCKET/FOLDER"
            ) from error
        except OSError as error:
            reason = _hide_credentials(_reason(error), address)
            raise UserError(f"{self.display_name}: cannot be opened: {reason}") from error
        if isinstance(self._files, fs.LocalFileSystem):
            self.local_root = Path(self._root)

    def clips(self) -> list[Clip]:
        """Return the video files, the largest first: the last to end should be a short one.

        Names that begin with a dot, and what is in such folders, are left out: programs keep
        files there that are no recordings.

        Raises:
            UserError: The archive cannot be listed, or has no video file.
        """
        try:
            clips = local_files(self.local_root) if self.local_root else self._remote_files()
        except (OSError, ValueError) as error:
            raise UserError(f"{self.display_name}: cannot be listed: {_reason(error)}") from error
        videos = [clip for clip in clips if is_video(clip.name)]
        if not videos:
            raise UserError(
                f"{self.display_name}: no video file among {len(clips)} files, expected "
                f"{' '.join(SUFFIXES)}"
            )
        return sorted(videos, key=lambda clip: (-clip.size, clip.name))

    def _remote_files(self) -> list[Clip]:
        from pyarrow import fs

        found = self._files.get_file_info(fs.FileSelector(self._root, recursive=True))
        return [
            Clip(str(PurePosixPath(info.path).relative_to(self._root)), info.size, info.mtime_ns)
            for info in found
            if info.type == fs.FileType.File
        ]

    @contextmanager
    def local_file(self, name: str, folder: Path) -> Iterator[Path]:
        """Yield a path of a clip on this machine.

        Args:
            name: The clip.
            folder: A private folder for the copy of a remote clip, which is removed at the end.

        Raises:
            UserError: The clip is gone, or a remote clip cannot be copied.
        """
        if self.folder is not None:
            if not (self.folder / name).is_file():
                raise UserError("is gone, or its name is not UTF-8")
            yield self.folder / name
            return
        copy = folder / f"clip{PurePosixPath(name).suffix}"
        try:
            self._copy(name, copy)
            yield copy
        finally:
            copy.unlink(missing_ok=True)

    def _copy(self, name: str, copy: Path) -> None:
        try:
            with (
                self._files.open_input_stream(f"{self._root}/{name}") as remote,
                open(os.open(copy, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as local,
            ):
                shutil.copyfileobj(remote, local, COPY_BYTES)
        except OSError as error:
            raise UserError(f"cannot be copied: {_reason(error)}") from error


def local_files(folder: Path) -> list[Clip]:
    """Return the files of a folder and its subfolders; links to folders are not followed.

    Names that begin with a dot and lost+found are left out: a folder of theirs that this user
    cannot read, such as .snapshot of a file server, is no reason to end.

    A name that is not UTF-8 cannot be written to the results: it is listed in an escaped form, so
    that the clip is reported as failed.

    Args:
        folder: The folder.

    Raises:
        OSError: A folder cannot be read.
    """

    def failed(error: OSError) -> None:
        raise error

    clips = []
    for place, folders, names in os.walk(folder, onerror=failed):
        folders[:] = [name for name in folders if name != RECOVERED and not name.startswith(".")]
        for path in (Path(place, name) for name in names if not name.startswith(".")):
            if path.is_file():  # not a link to nowhere, or a socket
                name = os.fsencode(path.relative_to(folder)).decode("utf-8", "backslashreplace")
                clips.append(Clip(name, path.stat().st_size, path.stat().st_mtime_ns))
    return clips


def is_video(name: str) -> bool:
    """Return whether a path within an archive is that of a video file.

    Args:
        name: The path, with `/`.
    """
    path = PurePosixPath(name)
    return path.suffix.lower() in SUFFIXES and not any(part.startswith(".") for part in path.parts)


def _reason(error: Exception) -> str:
    """Return the reason of an error of Arrow, which repeats the path before `Detail:`."""
    text = str(error).strip().partition("\n")[0].partition(". Detail:")
    return (text[2].partition("] ")[2] or text[0]).strip()


def _hide_credentials(text: str, address: str) -> str:
    """Return a text without what `without_credentials` removes from an address.

    Args:
        text: A text that may quote the address or parts of it.
        address: The address.
    """
    text = text.replace(address, without_credentials(address))
    rest = address.partition("://")[2]
    query = rest.rpartition("@")[2].partition("?")[2].partition("#")[0]
    values = [option.partition("=")[2] for option in query.split("&")]
    secrets = {*re.split("[:@]", rest.rpartition("@")[0]), *values} - {""}
    words = {form for secret in secrets for form in (secret, unquote(secret))}
    for word in sorted(words, key=len, reverse=True):  # one may contain another
        text = re.sub(rf"(?<!\w){re.escape(word)}(?!\w)", "***", text)
    return text
