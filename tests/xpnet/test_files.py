from __future__ import annotations

import os
from pathlib import Path

import pytest

from xpnet.errors import UserError
from xpnet.files import check_distinct, check_writable, replacing, write_text


def test_failure_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    target.write_text("old")
    with pytest.raises(RuntimeError, match="half-way"), replacing(target) as partial:
        partial.write_text("half")
        assert target.read_text() == "old"
        raise RuntimeError("half-way")
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_success_replaces(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    target.write_text("old")
    write_text(target, "new")
    assert target.read_text() == "new"
    assert list(tmp_path.iterdir()) == [target]


def test_missing_folder_is_reported(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"the folder .*/none does not exist"):
        check_writable(tmp_path / "none" / "a.txt")


def test_folder_as_file_is_reported(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is a folder"):
        check_writable(tmp_path)


def test_full_disk_is_reported(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="No space left"), replacing(tmp_path / "a") as partial:
        partial.symlink_to("/dev/full")
        partial.write_text("x" * 100_000)
    assert list(tmp_path.iterdir()) == []


def test_output_that_is_an_input_or_another_output_is_refused(tmp_path: Path) -> None:
    clip = tmp_path / "clip.mp4"
    clip.touch()
    link = tmp_path / "link.mp4"
    link.symlink_to(clip)
    new = tmp_path / "new.json"
    check_distinct((tmp_path / "a.mp4", None, new), (clip,))
    for output in (clip, link, tmp_path / "." / ".." / tmp_path.name / "clip.mp4"):
        with pytest.raises(UserError, match=r"clip\.mp4|link\.mp4: is the input itself"):
            check_distinct((None, output), (clip,))
    with pytest.raises(UserError, match=r"new\.json: is named for two outputs"):
        check_distinct((new, None, tmp_path / ".." / tmp_path.name / "new.json"))


def test_pipe_is_not_replaced(tmp_path: Path) -> None:
    """As root, a device such as /dev/null was replaced by a file, too."""
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UserError, match="is a device, pipe or socket, expected the name of a file"):
        write_text(tmp_path / "pipe", "new")
    assert (tmp_path / "pipe").is_fifo()


def test_symbolic_link_is_kept(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    link = tmp_path / "link.txt"
    for target in ("old.txt", "new.txt"):
        (tmp_path / "disk" / "old.txt").write_text("old")
        link.unlink(missing_ok=True)
        link.symlink_to(Path("disk", target))
        write_text(link, "new")
        assert link.is_symlink()
        assert (tmp_path / "disk" / target).read_text() == "new"


def test_longest_name_can_be_written(tmp_path: Path) -> None:
    for name in ("a" * 251 + ".txt", "\u00e4" * 125 + ".txt"):
        write_text(tmp_path / name, "new")
        assert (tmp_path / name).read_text() == "new"
    assert len(list(tmp_path.iterdir())) == 2
    with pytest.raises(UserError, match="its name is too long, expected at most 255 bytes"):
        write_text(tmp_path / ("a" * 256), "new")
