"""`xpnet bench faults`: faults of real servers and clients, injected into real runs."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conftest import one_line
from xpnet.bench.faults.all_faults import FAULTS
from xpnet.bench.faults.injection import Fault, FaultSettings
from xpnet.bench.faults.machine_faults import SHIFTED_CLOCK
from xpnet.bench.faults.table import as_markdown, bench_faults

pytestmark = pytest.mark.integration


def test_table_of_faults(xpnet, tmp_path: Path) -> None:
    written, page = tmp_path / "faults.json", tmp_path / "faults.md"
    result = xpnet(
        "bench", "faults", "--times", 1, "--only", "wrong answer", "--only", "random messages",
        "--height", 202, "--width", 360, "--max-mask-age", 1000,
        "--json", written, "--markdown", page,
    )  # fmt: skip
    assert written.is_file(), result.stderr
    report = json.loads(written.read_text())
    wrong, messages = report["rows"]
    assert (wrong["fault"], wrong["injected"]) == ("wrong answer", 1)
    assert 0 < wrong["seconds_to_notice"] < 20
    assert 0 <= wrong["seconds_to_recover"] < 60
    assert wrong["frames_without_mask"] > 0
    assert messages["fault"] == "random messages"
    assert messages["seconds_to_notice"] is None
    # On a busy machine frames can be lost; the exit code says so.
    assert result.returncode == (2 if wrong["frames_lost"] + messages["frames_lost"] else 0)
    assert page.read_text() == result.stdout == as_markdown(report)


def test_what_a_machine_lacks_is_named_and_the_rest_goes_on() -> None:
    lacking = Fault("none", FAULTS[0].opened, lambda: "a wrench is missing")
    report = bench_faults(FaultSettings(1, ("none",)), [lacking])
    assert (report["rows"], report["skipped"]) == ([], {"none": "a wrench is missing"})
    assert "| none | not injected: a wrench is missing |" in as_markdown(report)


def test_wrong_options_give_one_line(xpnet) -> None:
    line = one_line(xpnet("bench", "faults", "--only", "earthquake"))
    assert "--only 'earthquake': no such fault; known: server killed, server frozen" in line
    assert "--times 0: expected at least 1" in one_line(xpnet("bench", "faults", "--times", 0))


@pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")
def test_shifted_clock_moves_the_wall_clock_only(tmp_path: Path) -> None:
    library, shift = tmp_path / "clock.so", tmp_path / "shift"
    command = ["cc", "-shared", "-fPIC", "-o", str(library), str(SHIFTED_CLOCK)]
    subprocess.run(command, check=True)
    shift.write_text("-7200")
    code = "import time, datetime; print(time.time(), time.monotonic(), datetime.datetime.now())"
    environ = {"LD_PRELOAD": str(library), "XPNET_CLOCK_SHIFT": str(shift)}
    times = [
        [float(word) for word in subprocess.run(
            ["python3", "-c", code], env={**os.environ, **more}, check=True,
            capture_output=True, text=True,
        ).stdout.split()[:2]]
        for more in ({}, environ)
    ]  # fmt: skip
    (wall, steady), (shifted, still_steady) = times
    assert -7200 <= shifted - wall < -7100
    assert 0 <= still_steady - steady < 100
