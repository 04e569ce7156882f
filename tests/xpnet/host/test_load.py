"""Load of processor and GPU from files as kernels write them."""

from __future__ import annotations

from pathlib import Path

import pytest

from xpnet.host.load import CpuLoad, gpu_load


def test_share_of_busy_time_between_two_calls(tmp_path: Path) -> None:
    stat = tmp_path / "stat"
    stat.write_text("cpu  100 0 50 800 50 0 0 0 0 0\ncpu0 1 2\n")
    load = CpuLoad(stat)
    assert load.share() is None  # no time has passed
    stat.write_text("cpu  130 0 60 850 60 0 0 0 0 0\ncpu0 1 2\n")
    assert load.share() == pytest.approx(0.4)


def test_this_machine_tells_its_load() -> None:
    load = CpuLoad()
    sum(range(3_000_000))
    share = load.share()
    assert share is None or 0 <= share <= 1


def test_gpu_of_a_jetson_and_of_no_machine(tmp_path: Path) -> None:
    file = tmp_path / "load"
    file.write_text("437\n")
    assert gpu_load((tmp_path / "none", file)) == 0.437
    assert gpu_load((tmp_path / "none",), "libnothing.so.1") is None
