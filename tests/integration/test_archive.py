"""`xpnet archive` with real Ray: killed, resumed, with a worker that dies and a corrupt clip."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from deepstream.archive.clips import is_video
from deepstream.archive.job import WORK
from deepstream.archive.ray_session import PREFIX
from deepstream.platforms.gstreamer_platform import GStreamerSettings
from deepstream.run import RunSettings, run
from tests.conftest import CLIP, ROOT, ffmpeg, video_frames
from xpnet.host.processes import descendants

parquet = pytest.importorskip("pyarrow.parquet", reason="needs scripts/setup.sh --archive")
pytest.importorskip("ray", reason="needs scripts/setup.sh --archive")

pytestmark = pytest.mark.integration

GOOD = [f"{i}.mp4" for i in range(3)] + [f"2026/{i}.mkv" for i in range(3, 6)]
FRAMES = 8
LOOPBACK = ("0100007F", "0000000000000000FFFF00000100007F", "00000000000000000000000001000000")
"""127.0.0.1 in IPv4 and IPv6, and ::1, as /proc/net/tcp and tcp6 have them."""
LISTENING = "0A"


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recordings")
    (folder / "2026").mkdir()
    for number, name in enumerate(GOOD):
        ffmpeg("-ss", str(4 + number), "-i", str(CLIP), "-frames:v", str(FRAMES), "-an",
               "-vf", "scale=360:202", "-c:v", "libx264", "-preset", "ultrafast",
               str(folder / name))  # fmt: skip
    (folder / "corrupt.mp4").write_bytes((folder / "0.mp4").read_bytes()[:2000])
    return folder


@contextlib.contextmanager
def started(recordings: Path, output: Path, home: Path) -> Iterator[subprocess.Popen[str]]:
    """Start the job in a session of its own; `home` shows what is written to the home folder."""
    # A package of --dev, which jsonschema imports if it can: in each process of Ray that takes
    # seconds.
    (home / "rfc3987_syntax.py").write_text("raise ImportError")
    path = os.pathsep.join([str(home), str(ROOT), os.environ.get("PYTHONPATH", "")])
    words = ["archive", recordings, "--output", output, "--workers", "2", "--masks"]
    command = [sys.executable, "-m", "xpnet.cli", *map(str, words)]
    process = subprocess.Popen(
        [*command, "--backend", "onnxruntime"], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, start_new_session=True,
        env={**os.environ, "HOME": str(home), "PYTHONPATH": path},
    )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def wait(reached: Callable[[], object], process: subprocess.Popen[str]) -> None:
    while not reached():
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)


def listening(processes: list[int]) -> set[str]:
    """Return the addresses at which processes listen, as in /proc/net/tcp."""
    sockets = set()
    for process in processes:
        for link in Path(f"/proc/{process}/fd").glob("*"):
            with contextlib.suppress(OSError):
                sockets.add(os.readlink(link))
    rows = [
        line.split()
        for table in ("tcp", "tcp6")
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]
    ]
    return {
        row[1].partition(":")[0]
        for row in rows
        if row[3] == LISTENING and f"socket:[{row[9]}]" in sockets
    }


def command_lines(processes: list[int]) -> dict[int, str]:
    found = {}
    for process in processes:
        with contextlib.suppress(OSError):
            found[process] = Path(f"/proc/{process}/cmdline").read_text()
    return found


def computing(work: Path) -> set[int]:
    """Return the processes that compute a clip; their numbers are in the names of their files."""
    return {int(path.name.split(".")[-2]) for path in work.glob("clip-*/.polyps.jsonl.*.part")}


def stop_a_worker(process: subprocess.Popen[str], work: Path) -> int:
    """Stop a process in the middle of a clip and return its number: the job cannot end without it.

    However slow this machine is, the clip is incomplete when the test goes on.
    """
    stopped: list[int] = []

    def is_stopped() -> bool:
        for worker in computing(work):  # files of the killed job may still be there
            if worker in descendants(process.pid):
                with contextlib.suppress(OSError):  # it ended meanwhile
                    os.kill(worker, signal.SIGSTOP)
                    while state(worker) not in "TXZ":
                        time.sleep(0.001)
                    if worker in computing(work):
                        stopped.append(worker)
                        return True
                    os.kill(worker, signal.SIGCONT)
        return False

    wait(is_stopped, process)
    return stopped[0]


def state(process: int) -> str:
    """Return the state of a process's main thread, as of ps."""
    return Path(f"/proc/{process}/stat").read_text().rpartition(") ")[2][0]


def folders_of(process: int) -> list[Path]:
    return list(Path("/tmp").glob(f"{PREFIX}{process}-*"))


def test_killed_job_is_resumed_and_does_every_good_clip_once(
    recordings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", "/tmp")  # sockets have short paths only
    output, home = tmp_path / "results", tmp_path / "home"
    home.mkdir()
    with started(recordings, output, home) as first:
        worker = stop_a_worker(first, output / WORK)
        try:
            wait(lambda: len(list(output.rglob("*.parquet"))) >= 2, first)
            processes = descendants(first.pid)
            addresses = listening([first.pid, *processes])
            (folder,) = folders_of(first.pid)
            assert folder.stat().st_mode & 0o077 == 0
        finally:
            first.kill()
            first.wait()
            os.kill(worker, signal.SIGKILL)  # after the job, which would start its clip again
        # Its workers notice a moment later, and may complete a clip until then.
        while any("run_clip" in line for line in command_lines(processes).values()):
            time.sleep(0.1)
    assert addresses
    assert addresses <= set(LOOPBACK)
    times = {path: path.stat().st_mtime_ns for path in output.rglob("*.parquet")}
    assert 2 <= len(times) < len(GOOD)
    assert (output / WORK).exists()

    with started(recordings, output, home) as second:
        # Its clip is incomplete, so the job can complete it only by a second attempt.
        os.kill(stop_a_worker(second, output / WORK), signal.SIGKILL)
        out, err = second.communicate(timeout=150)
    summary = json.loads((output / "summary.json").read_text())
    assert summary["skipped"] == len(times)
    assert summary["done"] == len(GOOD) - len(times)
    assert [clip["clip"] for clip in summary["failed"]] == ["corrupt.mp4"]
    assert second.returncode == 2
    assert err.splitlines() == [f"xpnet: corrupt.mp4: {summary['failed'][0]['reason']}"]
    assert f"clips: {summary['done']} done, {len(times)} skipped, 1 failed" in out.splitlines()
    assert {path: path.stat().st_mtime_ns for path in times} == times
    check_results(recordings, output, tmp_path)
    # Nothing is left: incomplete files, Ray's folders (that of the killed job neither), a token.
    assert not (output / WORK).exists()
    assert folders_of(first.pid) + folders_of(second.pid) == []
    assert not (home / ".ray").exists()


def check_results(recordings: Path, output: Path, tmp_path: Path) -> None:
    """Each good clip has its files; the rows of one are those of `xpnet run --polyps`."""
    assert {str(path.relative_to(output)) for path in output.rglob("*.parquet")} == {
        f"{name}.parquet" for name in GOOD
    }
    assert sum(is_video(path.name) for path in output.rglob("*.*")) == len(GOOD)
    for name in GOOD:
        assert parquet.read_table(output / f"{name}.parquet").num_rows == FRAMES
        assert len(video_frames(output / f"{name}.masks.mp4")) == FRAMES
    lines = tmp_path / "polyps.jsonl"
    run(RunSettings(recordings / "2026/3.mkv", "none", polyps=lines,
                    platform=GStreamerSettings("onnxruntime", threads=1)))  # fmt: skip
    rows = parquet.read_table(output / "2026/3.mkv.parquet").to_pylist()
    expected = [json.loads(line) for line in lines.read_text().splitlines()]
    for frame in expected:
        for polyp in frame["polyps"]:
            del polyp["contour"]
    assert rows == [{"clip": "2026/3.mkv", **frame} for frame in expected]
    assert any(frame["polyps"] for frame in expected)


def test_interrupt_ends_all_processes_and_leaves_no_incomplete_file(
    recordings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", "/tmp")
    output = tmp_path / "results"
    with started(recordings, output, tmp_path) as process:
        wait(lambda: computing(output / WORK), process)
        processes = descendants(process.pid)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does
        _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (1, "xpnet: interrupted\n")
    assert {path.suffix for path in output.rglob("*.*")} <= {".parquet", ".mp4"}  # none but whole
    assert not (output / WORK).exists()
    assert folders_of(process.pid) == []
    running = [line for line in command_lines(processes).values() if "ray" in line]
    assert running == []
