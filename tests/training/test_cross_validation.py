"""Five trainings, each scored on the clips that it has not seen."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from tests.conftest import one_line
from tests.training.conftest import make_discs
from training.cross_validation import as_markdown
from training.data.readers import FOLDS
from training.evaluation.scoring import PEAKS

TINY = ("size=32", "epochs=2", "batch=4", "workers=0", "accelerator=cpu", "precision=32-true")


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    """Ten clips of two frames; the second frame of each has no polyp."""
    root = make_discs(tmp_path / "clips", 20)
    rows = ["stem,group,split"]
    for number in range(20):
        if number % 2:
            cv2.imwrite(str(root / "masks" / f"{number}.png"), np.zeros((64, 64), np.uint8))
        rows.append(f"{number},clip {number // 2},train")
    (root / "index.csv").write_text("\n".join(rows))
    return root


def test_each_frame_is_scored_once_and_finished_folds_are_kept(
    xpnet: Any, clips: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "folds"
    call = ("train", "folds", "--job", "student", "--output", folder, f"data={clips}", *TINY)
    result = xpnet(*call)
    assert result.returncode == 0, result.stderr
    found = json.loads((folder / "folds.json").read_text())
    assert list(found["folds"]) == list(FOLDS)
    assert found["settings"]["network"] == "student"
    assert not {"split", "data", "output"} & set(found["settings"])
    for name in ("frames", "empty_frames", "polyps"):
        expected = {"frames": 20, "empty_frames": 10, "polyps": 10}[name]
        assert sum(fold[name] for fold in found["folds"].values()) == expected
    for fold, row in found["folds"].items():
        assert [counts["peak"] for counts in row["by_peak"]] == list(PEAKS)
        # The held-out frames choose no epoch: there is one validation, after the last one.
        log = (folder / fold / "log.jsonl").read_text().splitlines()
        assert [json.loads(line)["epoch"] for line in log] == [2]
    # A fold whose scores are of other weights is scored again; nothing is trained again.
    weights = [folder / fold / "weights.safetensors" for fold in FOLDS]
    before = [path.stat().st_mtime_ns for path in weights]
    changed = json.loads((folder / "folds.json").read_text())
    changed["folds"]["fold2"]["sha256"] = changed["folds"]["fold3"]["dice"] = 9
    (folder / "folds.json").write_text(json.dumps(changed))
    assert xpnet(*call).returncode == 0
    again = json.loads((folder / "folds.json").read_text())["folds"]
    assert again["fold2"] == found["folds"]["fold2"]
    assert again["fold3"]["dice"] == 9
    assert [path.stat().st_mtime_ns for path in weights] == before


def test_bad_pairs_are_not_scored_and_other_settings_start_again(
    xpnet: Any, clips: Path, tmp_path: Path
) -> None:
    (clips / "images" / "0.jpg").write_bytes(b"no picture")
    folder = tmp_path / "folds"
    call = ("train", "folds", "--job", "student", "--output", folder, f"data={clips}", *TINY)
    assert f"{clips}: 1 files cannot be used for training" in one_line(xpnet(*call))
    assert not folder.exists()
    folder.mkdir()
    stale = {"settings": {"epochs": 9}, "folds": {"fold5": {"sha256": ""}}}
    (folder / "folds.json").write_text(json.dumps(stale))
    result = xpnet(*call, "--skip-bad", "epochs=1")
    assert result.returncode == 0, result.stderr
    found = json.loads((folder / "folds.json").read_text())
    assert found["settings"]["epochs"] == 1
    assert list(found["folds"]) == list(FOLDS)
    assert sum(fold["frames"] for fold in found["folds"].values()) == 19


def test_settings_of_the_command_and_too_few_clips_are_refused(
    xpnet: Any, discs: Path, tmp_path: Path
) -> None:
    call = ("train", "folds", "--output", tmp_path / "folds", f"data={discs}")
    for word in ("split=random", "init=weights.safetensors"):
        expected = f"{word}: `xpnet train folds` sets {word.partition('=')[0]} itself"
        assert expected in one_line(xpnet(*call, word))
    assert f"{discs}: clips: 1, expected at least 5, one for each fold" in one_line(xpnet(*call))
    assert "a second one may show what is held out" in one_line(xpnet(*call, "more_data=more"))
    sequence = tmp_path / "negativeOnly" / "seq1_neg"
    sequence.mkdir(parents=True)
    (sequence / "a.png").touch()
    refused = xpnet(*call[:-1], f"data={sequence.parent}")
    assert "sequences without polyps, expected frames with masks" in one_line(refused)
    assert not (tmp_path / "folds").exists()


def test_table_adds_the_folds() -> None:
    counts = [{"peak": p, "found": 3, "false_positives": 2, "empty_marked": 1} for p in PEAKS]
    fold = {"frames": 10, "empty_frames": 2, "polyps": 4, "minutes": 1.5, "by_peak": counts,
            "machine": "a machine", "cores": 2, "date": "2026-11-28"}  # fmt: skip
    settings = {"network": "lite", "epochs": 3, "size": 64}
    found = {
        "settings": settings,
        "folds": {"fold1": {**fold, "dice": 0.5}, "fold2": {**fold, "dice": 0.7, "frames": 30}},
    }
    lines = as_markdown(found).splitlines()
    # 2 of 4 frames without a polyp (Wilson's interval), 6 of 8 polyps, 4 false positives in 40
    # frames.
    assert lines[2] == "| none | 2 of 4 | 50.0% (15.0% to 85.0%) | 6 of 8 | 0.100 |"
    assert lines[-3].startswith("| 0.95 |")
    assert lines[-1] == (
        "2 trainings of `lite`, 3 epochs at 64 pixels each, 3 minutes in all; 40 frames, "
        "Dice 0.650 without a peak. 2 cores of a machine, 2026-11-28."
    )
