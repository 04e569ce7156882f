"""One build at a time, nothing left of one that was killed, and the timings of TensorRT."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.conftest import ROOT
from xpnet.errors import UserError
from xpnet.tensorrt.build_dir import alone, timings
from xpnet.tensorrt.plan_builder import PlanSettings, build_plan


def test_the_second_build_waits_and_clears_what_a_killed_one_left(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    (tmp_path / "model.plan").touch()
    left = [tmp_path / ".fp16.plan", tmp_path / ".model.plan.7.part"]
    seen = []

    def second() -> None:
        with alone(tmp_path):
            seen.append([path.exists() for path in left])

    with alone(tmp_path):
        for path in left:  # of the build that is at work
            path.touch()
        thread = threading.Thread(target=second)
        thread.start()
        while "another build is at work here" not in caplog.text:
            time.sleep(0.01)
        assert seen == []
        assert all(path.exists() for path in left)
    thread.join()
    assert seen == [[False, False]]
    assert [p.name for p in tmp_path.iterdir()] == ["model.plan"]


def test_a_disk_that_gives_way_is_one_line(tmp_path: Path) -> None:
    with (
        pytest.raises(UserError, match="no plan can be built in it: No space left"),
        alone(tmp_path),
    ):
        raise OSError(28, os.strerror(28))
    with (
        pytest.raises(UserError, match="no plan can be built in it: No such file"),
        alone(tmp_path / "none"),
    ):
        pass


def test_timings_are_kept_of_builds_that_ended(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    kept = tmp_path / "timings"
    for wanted in ("1", "12"):
        with timings(kept) as own:
            own.with_name("timings.lock").touch()  # as trtexec leaves it
            own.write_text(own.read_text() + "2" if own.exists() else "1")
        assert kept.read_text() == wanted
    with pytest.raises(UserError), timings(kept) as own:
        own.write_text("half")
        raise UserError("the build failed")
    assert kept.read_text() == "12"
    assert [p.name for p in tmp_path.iterdir()] == ["timings"]
    with timings(tmp_path / "none" / "timings") as own:
        own.write_text("x")
    assert "the timing cache is not kept: " in caplog.text
    with timings(tmp_path) as own:
        assert not own.exists()
    assert "is not read: Is a directory" in caplog.text


def test_a_build_that_is_ended_leaves_the_plan_that_was_there(
    trtexec, driver, settings: PlanSettings
) -> None:
    trtexec()
    build_plan(settings)
    folder = settings.repository / "xpnet_lite" / "1"
    before = {p.name: p.read_bytes() for p in folder.iterdir()}
    trtexec(mood="slow")
    command = [sys.executable, "-m", "xpnet.cli", "build", "--target", "rtx", "--model",
               "xpnet_lite", "--precision", "fp32", "--repository",
               str(settings.repository)]  # fmt: skip
    build = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    assert build.stderr is not None
    partial = folder / ".model.plan"
    while build.poll() is None and not partial.is_file():
        time.sleep(0.05)
    build.send_signal(signal.SIGTERM)
    assert build.stderr.read().splitlines()[-1] == "xpnet: interrupted"
    assert build.wait() == 1
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == before
