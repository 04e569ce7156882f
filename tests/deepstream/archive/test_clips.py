"""Which files of an archive are clips, and where a worker reads them."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from deepstream.archive.clips import Archive, is_video, local_files
from xpnet.errors import UserError

pytest.importorskip("pyarrow", reason="needs scripts/setup.sh --archive")


@pytest.mark.parametrize("scheme", ["", "file://"])
def test_videos_of_subfolders_are_listed_and_hidden_files_are_not(
    recordings: Path, scheme: str
) -> None:
    clips = Archive(f"{scheme}{recordings}").clips()
    assert [(clip.name, clip.size) for clip in clips] == [("2026/b.MKV", 2), ("a.mp4", 1)]
    for clip in clips:
        assert clip.modified_ns == (recordings / clip.name).stat().st_mtime_ns


def test_hidden_folders_and_recovered_files_are_not_read(recordings: Path) -> None:
    """Only root can read some of them, so they must not be opened."""
    (recordings / "2026" / "lost+found").mkdir()
    (recordings / "2026" / "lost+found" / "e.mp4").touch()
    names = {clip.name for clip in local_files(recordings)}
    assert names == {"a.mp4", "2026/b.MKV", "notes.txt"}


def test_unreadable_subfolder_is_an_error(
    recordings: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scandir = os.scandir

    def refused(path: str) -> object:
        if str(path).endswith(("2026", ".trash")):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refused)
    with pytest.raises(UserError, match=r"cannot be listed: .*Permission denied: .*2026"):
        Archive(str(recordings)).clips()


@pytest.mark.parametrize("scheme", ["", "file://"])
def test_links_to_folders_are_not_followed(recordings: Path, scheme: str) -> None:
    (recordings / "2026" / "loop").symlink_to(recordings)
    (recordings / "2026" / "nowhere.mp4").symlink_to("/nowhere.mp4")
    (recordings / "2026" / "z.mp4").symlink_to(recordings / "a.mp4")
    names = [clip.name for clip in Archive(f"{scheme}{recordings}").clips()]
    assert names == ["2026/b.MKV", "2026/z.mp4", "a.mp4"]


def test_name_that_is_not_utf8_fails_as_a_clip(recordings: Path, tmp_path: Path) -> None:
    (recordings / os.fsdecode(b"\xff.mp4")).write_bytes(b"x" * 9)
    archive = Archive(str(recordings))
    name = archive.clips()[0].name
    assert name == "\\xff.mp4"
    with pytest.raises(UserError, match="its name is not UTF-8"):
        archive.local_file(name, tmp_path).__enter__()


@pytest.mark.parametrize("name", ["../a.mp4", "b/../../a.mp4", ".a.mp4", "a.mp4.part", "mp4"])
def test_paths_out_of_the_archive_and_partial_files_are_no_clips(name: str) -> None:
    assert not is_video(name)


def test_clip_of_a_folder_is_read_in_place(recordings: Path, tmp_path: Path) -> None:
    with Archive(str(recordings)).local_file("2026/b.MKV", tmp_path) as path:
        assert path == recordings / "2026/b.MKV"
    assert path.exists()


def test_clip_of_an_address_is_a_private_copy_that_is_removed(
    recordings: Path, tmp_path: Path
) -> None:
    work = tmp_path / "work"
    work.mkdir()
    with Archive(f"file://{recordings}").local_file("2026/b.MKV", work) as path:
        assert (path.parent, path.suffix) == (work, ".MKV")
        assert path.read_bytes() == b"xx"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(work.iterdir()) == []
    assert (recordings / "2026/b.MKV").exists()


def test_clip_that_is_gone_is_reported(recordings: Path, tmp_path: Path) -> None:
    archive = Archive(f"file://{recordings}")
    with pytest.raises(UserError, match="cannot be copied"), archive.local_file("e.mp4", tmp_path):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["recordings"]


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("/nowhere", "/nowhere: no such folder of recordings"),
        ("other://bucket", "other://bucket: expected a folder or an address of a bucket"),
        ("s3://user:secret@a b/%%", "s3://a b/%%: expected a folder or an address"),
        ("file:///nowhere", "file:///nowhere: cannot be listed: .*No such file or directory"),
    ],
)
def test_bad_address_is_one_line_without_credentials(address: str, message: str) -> None:
    with pytest.raises(UserError, match=f"^{message}") as caught:
        Archive(address).clips()
    assert "secret" not in str(caught.value)


def test_reason_why_a_bucket_is_not_reached_is_shown_without_credentials(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from pyarrow import fs

    address = "s3://user:se%2Fcret@bucket/2026?session_token=t0ken"

    def refused(_: str) -> None:
        raise OSError(
            "When resolving region for bucket 'bucket': AWS Error NETWORK_CONNECTION during "
            f"HeadBucket operation: could not resolve host, se/cret t0ken {address}\nmore"
        )

    monkeypatch.setattr(fs, "FileSystem", SimpleNamespace(from_uri=refused))
    with pytest.raises(UserError) as caught:
        Archive(address)
    assert str(caught.value) == (
        "s3://bucket/2026: cannot be opened: When resolving region for bucket 'bucket': AWS Error "
        "NETWORK_CONNECTION during HeadBucket operation: could not resolve host, *** *** "
        "s3://bucket/2026"
    )


def test_archive_without_a_video_is_an_error(recordings: Path) -> None:
    for name in ("a.mp4", "2026/b.MKV"):
        (recordings / name).unlink()
    with pytest.raises(UserError, match=f"{recordings}: no video file among 1 files"):
        Archive(str(recordings)).clips()


def test_without_arrow_the_command_to_install_it_is_named(
    recordings: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(UserError, match=r"needs pyarrow.*: scripts/setup.sh --archive$"):
        Archive(str(recordings))
