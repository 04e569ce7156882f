"""The figures of `xpnet bench steadiness` on maps made for it, and the command on the demo clip."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.conftest import ffmpeg, one_line
from xpnet.bench.moved_stills import FRAMES, moved
from xpnet.bench.steadiness import Sequence, as_markdown, measure
from xpnet.commands.bench_live import labelled_sequences, moved_stills
from xpnet.errors import UserError

ON, OFF = np.zeros((64, 64), np.float32), np.zeros((64, 64), np.float32)
ON[20:40, 20:40] = 0.9


def sequence(states: str, truth: bool = False) -> Sequence:
    """Return a sequence whose frames show a square (#) or nothing (.)."""
    maps = [ON if state == "#" else OFF for state in states]
    square = np.zeros((256, 256), np.uint8)
    square[80:160, 80:160] = 1
    return Sequence("made", maps, 25.0, [square] * len(maps) if truth else [])


def test_flicker_marks_and_lag_are_counted() -> None:
    found = measure(sequence("." * 10 + "#" + "." * 10 + "#" * 12 + "." * 17), 0.5)
    raw, confirmed = found["raw"], found["confirmed"]
    assert (raw["frames"], raw["frames_marked"]) == (50, 13)
    assert raw["flickers_a_second"] == 0.5  # one flash in two seconds
    assert raw["marks_a_minute"] == 30  # the second is back within half a second: the same mark
    assert raw["lag_frames"] == 0
    assert confirmed["flickers_a_second"] == 0
    assert confirmed["frames_marked"] == 13  # two frames later, and three longer
    assert (confirmed["lag_frames"], confirmed["longest_lag_frames"]) == (2, 2)
    assert "dice" not in raw


def test_nothing_counts_across_a_cut() -> None:
    """Twice the same: marked for two frames only, but until a cut; after it from the start on."""
    one = sequence("#" * 10 + "." * 10 + "##")
    two = replace(one, maps=one.maps * 2, starts=frozenset({22}))
    once, twice = measure(one, 0.5), measure(two, 0.5)
    for kind, row in once.items():
        assert twice[kind] == {
            **row, "frames": 44, "frames_marked": 2 * row["frames_marked"]
        }  # fmt: skip
    uncut = measure(replace(two, starts=frozenset()), 0.5)
    assert uncut["raw"]["marks_a_minute"] < twice["raw"]["marks_a_minute"]
    assert uncut["confirmed"]["lag_frames"] is not None
    assert twice["confirmed"]["lag_frames"] is None


def test_sequences_without_groups_and_wrong_seconds_give_one_line(
    xpnet, short_clip: Path, tmp_path: Path
) -> None:
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
        cv2.imwrite(str(tmp_path / folder / "a.png"), np.zeros((8, 8), np.uint8))
    (tmp_path / "index.csv").write_text("stem,split\na,val\n")
    with pytest.raises(UserError, match="frame 'a' has no group, expected a column `group`"):
        labelled_sequences(tmp_path, lambda frame: frame)
    for seconds in ("0.001", "inf", "nan", "-1"):
        line = one_line(
            xpnet("bench", "steadiness", "--clip", short_clip, f"--without-polyp={seconds}")
        )
        assert f"--without-polyp {float(seconds):g}: expected 0, or at least a frame of" in line


def test_areas_below_the_peak_are_not_marked() -> None:
    states = sequence("#" * 10)
    assert measure(states, 0.5, 0.85)["both"]["frames_marked"] == 8
    assert measure(states, 0.5, 0.95)["raw"]["frames_marked"] == 0


def test_truth_gives_dice() -> None:
    found = measure(sequence("#" * 10, truth=True), 0.5)
    assert found["raw"]["dice"] == pytest.approx(1, abs=0.02)
    assert found["raw"]["polyp_frames_hit"] == found["raw"]["polyp_frames"] == 10
    assert found["confirmed"]["polyp_frames_hit"] == 8
    table = as_markdown({"rows": {"made": found}, "model": "m", "machine": "c", "date": "d"})
    assert "| made | confirmed | 8 of 10 |" in table
    assert "| 8 of 10 |\n" in table
    assert found["confirmed"]["dice"] == pytest.approx(0.8, abs=0.02)
    assert found["confirmed"]["settled_dice"] == pytest.approx(1, abs=0.02)


def test_still_is_moved_with_its_mask_and_nothing_empty_moves_in() -> None:
    frame, mask = np.full((120, 160, 3), 100, np.uint8), np.zeros((120, 160), np.uint8)
    frame[40:80, 50:100] = 220
    mask[40:80, 50:100] = 1
    clip = list(moved(frame, mask, 3))
    assert len(clip) == FRAMES
    places = []
    for picture, moved_mask in clip:
        inside, outside = picture[moved_mask == 1], picture[moved_mask == 0]
        assert inside.mean() > 190
        assert 85 < outside.mean() < 115
        assert picture[:4].min() > 60  # noise on 100, and no black corner
        places.append(np.argwhere(moved_mask).mean(axis=0))
    steps = np.linalg.norm(np.diff(places, axis=0), axis=1)
    assert 0 < steps.max() < 0.02 * 160  # slow
    assert np.linalg.norm(places[-1] - places[0]) > 1
    again = list(moved(frame, mask, 3))
    assert all(np.array_equal(a, b) for (a, _), (b, _) in zip(clip, again, strict=True))
    assert not np.array_equal(clip[5][0], list(moved(frame, mask, 4))[5][0])


def test_clips_of_stills_are_cut_and_have_their_masks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    square = np.zeros((64, 64), np.uint8)
    square[20:40, 20:40] = 255
    for stem in "ab":
        cv2.imwrite(str(tmp_path / "images" / f"{stem}.png"), np.full((64, 64, 3), 90, np.uint8))
        cv2.imwrite(str(tmp_path / "masks" / f"{stem}.png"), square)
    (tmp_path / "index.csv").write_text("stem,split\na,val\nb,val\n")
    found = moved_stills(tmp_path, "val", lambda frame: ON)
    assert found.starts == {FRAMES}
    assert len(found.maps) == len(found.truths) == 2 * FRAMES
    assert all(truth.any() for truth in found.truths)
    with pytest.raises(UserError, match="test"):
        moved_stills(tmp_path, "test", lambda frame: ON)
    monkeypatch.setattr("xpnet.bench.moved_stills.MAX_STILLS", 1)
    with pytest.raises(UserError, match="2 frames, expected at most 1: choose a --split"):
        moved_stills(tmp_path, None, lambda frame: ON)


def test_command_compares_a_clip(xpnet, short_clip: Path, tmp_path: Path) -> None:
    few = tmp_path / "few.mp4"
    ffmpeg("-i", str(short_clip), "-frames:v", "8", "-an", str(few))
    written = tmp_path / "s.json"
    result = xpnet("bench", "steadiness", "--clip", few, "--without-polyp", 0, "--json", written)
    assert result.returncode == 0, result.stderr
    rows = json.loads(written.read_text())["rows"]
    assert list(rows["few.mp4"]) == ["raw", "smoothed", "confirmed", "both"]
    assert rows["few.mp4"]["raw"]["frames"] == 8
    assert "| few.mp4 | raw |" in result.stdout
