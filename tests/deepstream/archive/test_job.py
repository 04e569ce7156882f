"""The job without Ray: its folders, what it refuses, and a clip whose process ended."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from deepstream.archive import clip_task, job
from deepstream.archive import ray_session as session
from deepstream.archive.clip_task import MAX_ATTEMPTS, ClipResult, TaskSettings, run_clip
from deepstream.archive.clips import Archive, Clip
from deepstream.archive.job import WORK, ArchiveSettings, run_archive, work_folder
from deepstream.archive.results import Facts, masks_path, parquet_path, write_parquet
from tests.conftest import one_line
from xpnet.errors import UserError
from xpnet.paths import MODEL_REPOSITORY
from xpnet.serving.model_config import DEFAULT_MODEL

pytest.importorskip("pyarrow", reason="needs scripts/setup.sh --archive")

Xpnet = Callable[..., "subprocess.CompletedProcess[str]"]


def test_work_folder_is_private_and_loses_what_a_killed_job_left(
    recordings: Path, tmp_path: Path
) -> None:
    output = tmp_path / "results"
    left = output / WORK / "clip-0"
    left.mkdir(parents=True)
    (left / "clip.mp4").write_bytes(b"frames of a patient")
    (output / WORK / "attempts-0").write_bytes(b"..")
    (output / "a.mp4.parquet").write_bytes(b"kept")
    with work_folder(output, Archive(str(recordings))) as work:
        assert [path.name for path in work.iterdir()] == ["lock"]
        assert work.stat().st_mode & 0o077 == 0
    assert [path.name for path in output.iterdir()] == ["a.mp4.parquet"]


def test_new_folder_of_results_is_private(recordings: Path, tmp_path: Path) -> None:
    output = tmp_path / "results"
    with work_folder(output, Archive(str(recordings))):
        assert output.stat().st_mode & 0o077 == 0


def test_second_job_of_a_folder_is_refused(recordings: Path, tmp_path: Path, xpnet: Xpnet) -> None:
    (tmp_path / "results" / WORK).mkdir(parents=True)
    with (tmp_path / "results" / WORK / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        error = one_line(xpnet("archive", recordings, "--output", tmp_path / "results"))
    assert "another `xpnet archive` writes to this folder" in error


@pytest.mark.parametrize(("scheme", "output"), [("", "."), ("", "2026/o"), ("file://", "2026/o")])
def test_results_inside_the_archive_are_refused(
    recordings: Path, xpnet: Xpnet, scheme: str, output: str
) -> None:
    error = one_line(xpnet("archive", f"{scheme}{recordings}", "--output", recordings / output))
    assert "is inside the archive" in error
    assert not (recordings / "2026" / "o").exists()


def test_unknown_model_is_one_line(recordings: Path, tmp_path: Path, xpnet: Xpnet) -> None:
    call = ("archive", recordings, "--output", tmp_path / "o", "--model", "none")
    assert "none/1/model.onnx: no such ONNX file" in one_line(xpnet(*call))


def test_negative_number_of_workers_is_refused(recordings: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--workers -1: expected at least 1"):
        run_archive(ArchiveSettings(str(recordings), tmp_path / "o", workers=-1))


def test_no_more_workers_start_than_there_are_clips(
    recordings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = []

    def run_clips(clips: list[Clip], task: TaskSettings, workers: int) -> Iterator[ClipResult]:
        started.append((workers, task.threads))
        return (ClipResult(clip.name) for clip in clips)

    monkeypatch.setattr(job, "run_clips", run_clips)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    summary = run_archive(ArchiveSettings(str(recordings), tmp_path / "o", workers=6))
    assert started == [(2, 4)]  # two clips share the eight cores
    assert (summary["workers"], summary["threads"]) == (2, 4)


def test_without_ray_the_command_to_install_it_is_named(
    recordings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match=r"needs ray.*: scripts/setup.sh --archive$"):
        run_archive(ArchiveSettings(str(recordings), tmp_path / "o"))
    assert list((tmp_path / "o").iterdir()) == []


def test_path_that_is_too_long_for_a_socket_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = tmp_path / ("x" * 80)
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    with pytest.raises(UserError, match="set TMPDIR"), session.ray_session(1):
        pass
    assert list(long.iterdir()) == []


def test_folders_of_killed_jobs_are_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    ended = subprocess.Popen(["true"])
    ended.wait()
    kept = [
        tmp_path / name
        for name in (
            f"{session.PREFIX}{os.getpid()}-abcdefgh",
            f"{session.PREFIX}without",
            f"{session.PREFIX}june-abcdefgh",
            f"{session.PREFIX}{ended.pid}-results-of-june",
            "xpnet-archive-june-2026",
        )
    ]
    left = Path(tempfile.mkdtemp(prefix=f"{session.PREFIX}{ended.pid}-"))
    for folder in (*kept, left):
        (folder / "logs").mkdir(parents=True)
    session.remove_stale_folders()
    assert sorted(tmp_path.iterdir()) == sorted(kept)


def task(tmp_path: Path, folder: Path) -> TaskSettings:
    return TaskSettings(
        str(folder), tmp_path / "o", tmp_path, MODEL_REPOSITORY, DEFAULT_MODEL, "0" * 64,
        "onnxruntime", 1, False,
    )  # fmt: skip


def test_clip_whose_process_ended_is_tried_once_more_only(recordings: Path, tmp_path: Path) -> None:
    row = {"number": 4, **asdict(Clip("a.mp4", 1, 0))}
    left = tmp_path / "clip-4"
    reasons = []
    for _ in range(MAX_ATTEMPTS + 1):
        left.mkdir()
        (left / "polyps.jsonl").touch()
        reasons.append(run_clip(row, task(tmp_path, recordings))["failure"])
        if len(reasons) <= MAX_ATTEMPTS:
            assert not left.exists()
    assert all("not a video" in reason for reason in reasons[:MAX_ATTEMPTS])
    assert "its process ended 2 times" in reasons[-1]


CLIP = Clip("2026/b.MKV", 2, 0)
ROW = {"number": 4, **asdict(CLIP)}


def put_results(settings: TaskSettings, model: str, card_sha256: str, clip: Clip) -> None:
    table = parquet_path(settings.output, clip.name)
    table.parent.mkdir(parents=True)
    write_parquet(table, [], Facts(clip, model, card_sha256, "onnxruntime", True, 0, 0, "broken"))
    masks_path(settings.output, clip.name).touch()


@pytest.mark.parametrize(
    ("model", "card_sha256", "clip", "kept"),
    [
        ("other", "0" * 64, CLIP, False),
        (DEFAULT_MODEL, "1" * 64, CLIP, False),
        (DEFAULT_MODEL, "0" * 64, replace(CLIP, size=3), False),
        (DEFAULT_MODEL, "0" * 64, CLIP, True),  # incomplete, but of this model
    ],
)
def test_results_of_another_model_do_not_stay_when_a_clip_fails(
    recordings: Path, tmp_path: Path, model: str, card_sha256: str, clip: Clip, kept: bool
) -> None:
    settings = task(tmp_path, recordings)
    put_results(settings, model, card_sha256, clip)
    assert "not a video" in run_clip(ROW, settings)["failure"]
    assert any(path.is_file() for path in settings.output.rglob("*")) == kept


def test_result_that_cannot_be_written_is_found_before_the_clip_is_computed(
    recordings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(_: object) -> None:
        raise AssertionError("the clip is computed")

    monkeypatch.setattr(clip_task, "run", run)
    settings = replace(task(tmp_path, recordings), masks=True)
    name = "x" * 245 + ".mp4"  # with .parquet it is too long
    (recordings / name).touch()
    result = run_clip({**ROW, "name": name}, settings)
    assert "its name is too long" in result["failure"]
    masks_path(settings.output, "a.mp4").mkdir()
    assert "is a folder" in run_clip({**ROW, "name": "a.mp4", "number": 5}, settings)["failure"]


def test_disk_without_space_for_the_attempt_fails_the_clip(
    recordings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: Path) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(clip_task, "_count_attempt", full)
    result = run_clip(ROW, task(tmp_path, recordings))
    assert result["clip"] == CLIP.name
    assert "No space left on device" in result["failure"]
