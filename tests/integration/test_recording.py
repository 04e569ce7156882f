"""`xpnet run --record`: recordings of real runs, asked for by command and by HTTP."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.conftest import one_line, video_frames
from xpnet.bench.live_run import live_run

pytestmark = pytest.mark.integration

SMALL = ("--backend", "onnxruntime", "--height", "202", "--width", "360")


def test_run_is_recorded_on_request(xpnet, short_clip: Path, tmp_path: Path) -> None:
    folder = tmp_path / "recordings"
    options = (*SMALL, "--record", str(folder), "--record-reserve", "0")
    with live_run(f"live:{short_clip}", options) as run:
        control = ("--control", run.address.rpartition("/")[2])
        assert run.wait_until(lambda state: state["frames"] > 10, 60) is not None
        assert json.loads(xpnet("run", "record", "start", *control).stdout)["recording"] is True
        assert run.wait_until(lambda state: state["recorder"]["seconds"] > 1, 60) is not None
        still = json.loads(xpnet("run", "record", "still", *control).stdout)["still"]
        line = one_line(xpnet("run", "record", "keep", *control))
        assert "the last seconds are not kept: expected --ring SECONDS" in line
        xpnet("run", "record", "stop", *control)
        assert run.wait_until(lambda s: not s["recorder"]["recording"], 60) is not None
        name = run.state()["recorder"]["last_file"]
        trail = run.settings_file.with_suffix(".audit.jsonl").read_text().splitlines()
        summary = run.stop()
    assert [json.loads(one)["recorder"] for one in trail] == ["start", "still", "stop"]
    assert sorted(path.name for path in folder.iterdir()) == [name, still]
    frames = video_frames(folder / name)
    assert len(frames) > 10
    assert frames[0].shape == (202, 360, 3)
    assert summary["ending"] == "interrupted"


def test_recording_of_a_killed_run_can_be_played(short_clip: Path, tmp_path: Path) -> None:
    options = (*SMALL, "--record", str(tmp_path), "--record-at-start", "--record-reserve", "0")
    with live_run(f"live:{short_clip}", options) as run:
        assert run.wait_until(lambda state: state["recorder"]["seconds"] > 2, 60) is not None
        seconds = run.state()["recorder"]["seconds"]
        run.kill()
    (left,) = tmp_path.iterdir()
    assert left.name.endswith(".part.mkv")
    # A busy machine encodes fewer than 25 frames a second.
    assert len(video_frames(left)) > 5 * (seconds - 1)


def test_options_without_their_partner_give_one_line(xpnet, short_clip: Path, tmp_path) -> None:
    run = ("run", f"live:{short_clip}", "--output", "none")
    assert "belong to --record" in one_line(xpnet(*run, "--ring", 5))
    assert "expected --control" in one_line(xpnet(*run, "--record", tmp_path))
    line = one_line(xpnet(*run, "--record", "/proc/nowhere", "--record-at-start"))
    assert "--record /proc/nowhere: cannot be made" in line
