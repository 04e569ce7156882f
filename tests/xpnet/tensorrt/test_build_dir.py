"""Concurrent, interrupted and failed plan builds, and the timing cache."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.xpnet.tensorrt.conftest import MODEL
from xpnet.errors import UserError
from xpnet.paths import ROOT, plan_path
from xpnet.tensorrt.build_dir import exclusive_build_dir, timing_cache_copy
from xpnet.tensorrt.plan_builder import PlanSettings


def test_second_build_waits_and_deletes_the_files_of_an_interrupted_one(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    (tmp_path / "model.plan").touch()
    temporary = [tmp_path / ".fp16.plan", tmp_path / ".model.plan.7.part"]
    seen_by_second = []

    def second_build() -> None:
        with exclusive_build_dir(tmp_path):
            seen_by_second.append([path.exists() for path in temporary])

    with exclusive_build_dir(tmp_path):
        for path in temporary:
            path.touch()
        thread = threading.Thread(target=second_build)
        thread.start()
        while "another build is running" not in caplog.text:
            time.sleep(0.01)
        assert seen_by_second == []
        assert all(path.exists() for path in temporary)
    thread.join()
    assert seen_by_second == [[False, False]]
    assert [p.name for p in tmp_path.iterdir()] == ["model.plan"]


def test_disk_error_gives_one_line(tmp_path: Path) -> None:
    with (
        pytest.raises(UserError, match="cannot build a plan here: No space left"),
        exclusive_build_dir(tmp_path),
    ):
        raise OSError(28, os.strerror(28))
    with (
        pytest.raises(UserError, match="cannot build a plan here: No such file"),
        exclusive_build_dir(tmp_path / "missing"),
    ):
        pass


def test_timing_cache_grows_with_every_build(tmp_path: Path) -> None:
    cache = tmp_path / "timings"
    for expected in ("1", "12"):
        with timing_cache_copy(cache) as copy:
            copy.with_name("timings.lock").touch()  # trtexec leaves such a file
            copy.write_text(copy.read_text() + "2" if copy.exists() else "1")
        assert cache.read_text() == expected
    assert [p.name for p in tmp_path.iterdir()] == ["timings"]


def test_failed_build_leaves_the_timing_cache_unchanged(tmp_path: Path) -> None:
    cache = tmp_path / "timings"
    cache.write_text("12")
    with pytest.raises(UserError), timing_cache_copy(cache) as copy:
        copy.write_text("half")
        raise UserError("the build failed")
    assert cache.read_text() == "12"


def test_unusable_timing_cache_is_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with timing_cache_copy(tmp_path / "missing" / "timings") as copy:
        copy.write_text("x")
    assert "cannot write the timing cache: " in caplog.text
    with timing_cache_copy(tmp_path) as copy:
        assert not copy.exists()
    assert f"cannot read the timing cache {tmp_path}: Is a directory" in caplog.text


def test_interrupted_build_leaves_the_existing_plan(
    fake_trtexec, nvidia_smi, settings_with_plan: PlanSettings
) -> None:
    fake_trtexec(failure="slow")
    folder = plan_path(settings_with_plan.repository / MODEL).parent
    before = {p.name: p.read_bytes() for p in folder.iterdir()}
    command = [sys.executable, "-m", "xpnet.cli", "build", "--target", "rtx", "--model", MODEL,
               "--precision", "fp32", "--repository", str(settings_with_plan.repository),
               "--frames", str(settings_with_plan.frames)]  # fmt: skip
    build = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    assert build.stderr is not None
    partial = folder / ".model.plan"
    while build.poll() is None and not partial.is_file():
        time.sleep(0.05)
    build.send_signal(signal.SIGTERM)
    assert build.stderr.read().splitlines()[-1] == "xpnet: interrupted"
    assert build.wait() == 1
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == before
