"""The recorder by itself: frames of a real encoder, a real file system, and one that is full."""

from __future__ import annotations

import stat
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from deepstream.gstreamer import Gst
from deepstream.recording.file_writer import FileWriter
from deepstream.recording.files import new_name
from deepstream.recording.recorder import FAILED, REC, Recorder, RecordSettings
from deepstream.statistics import RunStatistics
from tests.conftest import video_frames
from xpnet.errors import UserError

GRAPH = (
    "videotestsrc is-live=true pattern=ball ! video/x-raw,width=64,height=64,framerate=50/1 ! "
    "queue name=recorded_queue leaky=downstream max-size-buffers=8 ! "
    "valve name=recorded_valve drop=true drop-mode=forward-sticky-events ! videoconvert ! "
    "x264enc name=recorded_encoder tune=zerolatency key-int-max=25 speed-preset=ultrafast ! "
    "h264parse ! video/x-h264,stream-format=avc,alignment=au ! "
    "appsink name=recorded_frames sync=false async=false emit-signals=true"
)
PLENTY = 2**40


@contextmanager
def recording(
    folder: Path, free: Callable[[Path], int] = lambda _: PLENTY, **options: Any
) -> Iterator[tuple[Recorder, RunStatistics]]:
    """Return a recorder of a playing test picture."""
    recorder, statistics = Recorder(RecordSettings(folder, **options), free), RunStatistics()
    pipeline = Gst.parse_launch(GRAPH)
    recorder.attach(pipeline, statistics)
    pipeline.set_state(Gst.State.PLAYING)
    try:
        yield recorder, statistics
    finally:
        pipeline.set_state(Gst.State.NULL)
        recorder.close()


def until(reached: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_recording_is_complete_when_stopped(tmp_path: Path) -> None:
    folder = tmp_path / "new"
    with recording(folder) as (recorder, statistics):
        time.sleep(0.3)
        assert list(folder.iterdir()) == []  # nothing is written until it is asked for
        recorder.start()
        assert statistics.recording_sign == REC
        until(lambda: recorder.status()["seconds"] > 0.6)
        recorder.stop()
        until(lambda: not recorder.status()["recording"])
        assert statistics.recording_sign == ""
        name = recorder.status()["last_file"]
    assert [path.name for path in folder.iterdir()] == [name]
    assert name.startswith("recording-2")
    assert 20 < len(video_frames(folder / name)) < 200
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / name).stat().st_mode) == 0o600


def test_recording_runs_to_the_end_of_the_run(tmp_path: Path) -> None:
    with recording(tmp_path, at_start=True) as (recorder, _):
        until(lambda: recorder.status()["seconds"] > 0.3)
    (made,) = tmp_path.iterdir()
    assert len(video_frames(made)) > 5


def test_last_seconds_are_kept_on_request(tmp_path: Path) -> None:
    with recording(tmp_path, ring_s=1.0) as (recorder, _):
        time.sleep(2.5)
        assert list(tmp_path.iterdir()) == []
        recorder.keep()
        until(lambda: bool(recorder.status()["last_file"]))
        name = recorder.status()["last_file"]
    assert name.startswith("kept-")
    # One second, and up to half a second more until the next key frame.
    assert 50 <= len(video_frames(tmp_path / name)) <= 80


def test_unfinished_file_can_be_played_and_is_named_at_the_next_start(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with recording(tmp_path) as (recorder, _):
        recorder.start()
        until(lambda: recorder.status()["seconds"] > 1.0)
        (growing,) = tmp_path.iterdir()
        assert growing.name.endswith(".part.mkv")
        cut = growing.read_bytes()  # as after a power cut
    (finished,) = tmp_path.iterdir()
    finished.unlink()
    growing.write_bytes(cut)
    assert len(video_frames(growing)) > 15
    Recorder(RecordSettings(tmp_path)).close()
    (kept,) = tmp_path.iterdir()
    assert kept.name == growing.name.replace(".part.mkv", "-cut-off.mkv")
    assert f"a recording was cut off; it is now {kept.name}" in caplog.text


def test_full_disk_ends_the_recording_in_time_and_keeps_the_file(tmp_path: Path) -> None:
    free = [PLENTY]
    with recording(tmp_path, lambda _: free[0], reserve_mib=100) as (recorder, statistics):
        recorder.start()
        until(lambda: recorder.status()["seconds"] > 0.5)
        free[0] = 99 * 2**20
        until(lambda: bool(recorder.status()["failure"]))
        until(lambda: not recorder.status()["recording"])
        assert "99 MiB free, expected at least 100 MiB" in recorder.status()["failure"]
        assert statistics.recording_sign == FAILED
        (made,) = tmp_path.iterdir()
        assert made.name == recorder.status()["last_file"]
        with pytest.raises(UserError, match="99 MiB free, expected at least 100 MiB"):
            recorder.start()
        free[0] = PLENTY
        recorder.start()
        assert statistics.recording_sign == REC
        until(lambda: recorder.status()["seconds"] > 0)
    assert len(list(tmp_path.iterdir())) == 2


def test_folder_that_vanishes_ends_the_recording_only(tmp_path: Path) -> None:
    folder = tmp_path / "disk"
    with recording(folder) as (recorder, statistics):
        folder.rmdir()
        recorder.start()
        until(lambda: bool(recorder.status()["failure"]))
        assert "No such file or directory" in recorder.status()["failure"]
        assert statistics.recording_sign == FAILED
        assert recorder.status()["failures"] == 1


def test_disk_that_hangs_ends_the_recording_before_memory_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deepstream.recording.file_writer.MAX_PENDING", -1)
    with recording(tmp_path, at_start=True) as (recorder, _):
        until(lambda: bool(recorder.status()["failure"]))
        assert "the disk is too slow" in recorder.status()["failure"]


def test_disk_that_never_answers_ends_the_recording_and_asking_for_the_state_does_not_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    back = threading.Event()
    monkeypatch.setattr("deepstream.recording.recorder.MAX_WAITING", 5)
    monkeypatch.setattr(FileWriter, "write", lambda *_: back.wait(30))
    with recording(tmp_path, at_start=True) as (recorder, statistics):
        until(lambda: bool(recorder.status()["failure"]))
        assert recorder.status()["failure"] == "the disk is too slow"
        assert statistics.recording_sign == FAILED
        assert recorder.status()["frames_left_out"] > 0
        recorder._free_bytes = lambda _: int(back.wait(30))
        assert recorder.status()["disk_free_bytes"] == PLENTY
        back.set()


def test_stills_of_one_second_are_private_and_none_is_lost(tmp_path: Path) -> None:
    recorder = Recorder(RecordSettings(tmp_path))
    asked = [threading.Thread(target=recorder.save_still, args=(bytes([n]),)) for n in range(8)]
    for thread in asked:
        thread.start()
    for thread in asked:
        thread.join()
    recorder.close()
    made = list(tmp_path.iterdir())
    assert {path.read_bytes() for path in made} == {bytes([n]) for n in range(8)}
    assert {stat.S_IMODE(path.stat().st_mode) for path in made} == {0o600}


def test_folder_that_is_gone_gives_one_line(tmp_path: Path) -> None:
    recorder = Recorder(RecordSettings(tmp_path / "f", ring_s=1))
    (tmp_path / "f").rmdir()
    for asked in (recorder.start, recorder.keep, lambda: recorder.save_still(b"")):
        with pytest.raises(UserError, match="No such file or directory"):
            asked()
    until(lambda: recorder.status()["disk_free_bytes"] is None)
    recorder.close()


def test_what_cannot_be_done_gives_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--ring 301: expected 0 to 300 s"):
        RecordSettings(tmp_path, ring_s=301)
    with pytest.raises(UserError, match="--record-reserve -1: expected 0 or more MiB"):
        RecordSettings(tmp_path, reserve_mib=-1)
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(UserError, match=r"--record .*file: cannot be made"):
        Recorder(RecordSettings(file))
    recorder = Recorder(RecordSettings(tmp_path / "f"))
    with pytest.raises(UserError, match="expected --ring SECONDS"):
        recorder.keep()
    recorder.close()


def test_names_have_a_date_and_a_counter_only(tmp_path: Path) -> None:
    moment = datetime(2026, 1, 2, 3, 4, 5)
    first = new_name(tmp_path, "recording", ".mkv", moment)
    assert first.name == "recording-20260102-030405-1.mkv"
    first.with_name("recording-20260102-030405-1-cut-off.mkv").touch()
    assert new_name(tmp_path, "recording", ".mkv", moment).name.endswith("-2.mkv")
