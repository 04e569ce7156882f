"""`xpnet train check-data`: every error is reported with its file and prevents training."""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from tests.conftest import one_line
from tests.training.conftest import make_discs
from training.data import dataset_check
from training.data.dataset import PolypDataset, load_pair
from training.data.dataset_check import check_data_set, usable_samples
from training.data.pairs import Pair
from training.data.readers import read_data_set
from training.jobs import load_datasets
from training.settings import TrainSettings
from xpnet.errors import UserError


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return make_discs(tmp_path / "set")


def test_clean_data_set_has_no_errors(xpnet, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "report.json"
    result = xpnet("train", "check-data", data, "--json", out)
    assert result.returncode == 0, result.stdout + result.stderr
    report = json.loads(out.read_text())
    assert (report["pairs"], report["empty_masks"]) == (12, 0)
    assert report["sizes"] == {"64 x 64": 12}
    assert report["splits"] == {"train": 8, "val": 4}
    assert report["errors"] == []
    assert "errors: none" in result.stdout


def add_errors(data: Path) -> dict[str, str]:
    """Add one error of each kind; return the kind of error of each file."""
    (data / "masks" / "0.png").unlink()
    (data / "images" / "1.jpg").unlink()
    cv2.imwrite(str(data / "masks" / "2.png"), np.zeros((32, 64), np.uint8))
    whole = (data / "images" / "3.jpg").read_bytes()
    (data / "images" / "3.jpg").write_bytes(whole[: len(whole) * 2 // 3])
    coloured = cv2.imread(str(data / "masks" / "4.png"))
    coloured[..., 0] = 0
    cv2.imwrite(str(data / "masks" / "4.png"), coloured)
    cv2.imwrite(str(data / "masks" / "5.png"), np.full((64, 64), 100, np.uint8))
    (data / "masks" / "6.png").write_bytes(b"no picture")
    return {
        "0": "no mask", "1": "no image", "2.png": "size", "3.jpg": "corrupt",
        "4.png": "colour mask", "5.png": "mask", "6.png": "corrupt",
    }  # fmt: skip


def test_every_error_is_in_one_report(xpnet, data: Path) -> None:
    expected = add_errors(data)
    report = check_data_set(read_data_set(data))
    assert {Path(f.file).name: f.kind for f in report.errors} == expected
    result = xpnet("train", "check-data", data)
    assert result.returncode == 2
    for name in expected:
        assert f"{name}: " in result.stdout


def test_training_refuses_bad_pairs_unless_skip_bad_is_set(xpnet, tmp_path: Path) -> None:
    data = make_discs(tmp_path / "set", 15)
    add_errors(data)
    call = ("train", "student", f"data={data}", f"output={tmp_path / 'run'}", "size=32", "epochs=1",
            "batch=2", "workers=0", "accelerator=cpu")  # fmt: skip
    line = one_line(xpnet(*call))
    assert "7 files cannot be used for training" in line
    assert "--skip-bad leaves them out" in line
    assert not (tmp_path / "run" / "log.jsonl").exists()
    result = xpnet(*call, "--skip-bad")
    assert result.returncode == 0, result.stderr
    assert "skipped 5 bad pairs" in result.stderr
    card = json.loads((tmp_path / "run" / "weights.json").read_text())
    assert card["data"][0]["frames"] == 3


def test_data_set_without_a_polyp_is_rejected(xpnet, data: Path, tmp_path: Path) -> None:
    for path in (data / "masks").iterdir():
        cv2.imwrite(str(path), np.zeros((64, 64), np.uint8))
    report = check_data_set(read_data_set(data))
    assert [f.kind for f in report.errors] == ["no polyp"]
    assert report.empty == 12
    call = ("train", "student", f"data={data}", f"output={tmp_path / 'run'}", "accelerator=cpu")
    assert "no polyp in any of 12 masks" in one_line(xpnet(*call, "--skip-bad"))


def test_set_without_masks_needs_no_polyp(frames: list[np.ndarray], tmp_path: Path) -> None:
    folder = tmp_path / "seq1_neg"
    folder.mkdir()
    cv2.imwrite(str(folder / "a.png"), frames[0])
    (folder / "b.png").write_bytes(b"no picture")
    source = read_data_set(tmp_path)
    report = check_data_set(source)
    assert (report.empty, [f.kind for f in report.errors]) == (1, ["corrupt"])
    with pytest.raises(UserError, match="1 files cannot be used"):
        usable_samples(source, source.samples, skip_bad=False, size=32)
    (kept,) = usable_samples(source, source.samples, skip_bad=True, size=32)
    assert (kept.scaled[1].shape, kept.scaled[1].any()) == ((32, 32), False)


def test_duplicates_and_leaks_are_reported(data: Path, frames: list[np.ndarray]) -> None:
    images = data / "images"
    shutil.copy(images / "0.jpg", images / "8.jpg")  # train and val
    real = cv2.resize(frames[0], (64, 64), interpolation=cv2.INTER_AREA)
    for number, quality in ((1, 95), (2, 70)):  # both train
        cv2.imwrite(str(images / f"{number}.jpg"), real, [cv2.IMWRITE_JPEG_QUALITY, quality])
    report = check_data_set(read_data_set(data))
    kinds = Counter(f.kind for f in report.notes)
    assert kinds == {"exact duplicate": 1, "near duplicate": 1, "leak": 1}
    leak = next(f for f in report.notes if f.kind == "leak")
    assert "train and val" in leak.text
    assert report.errors == []


def test_clip_in_two_splits_is_reported(data: Path) -> None:
    rows = [f"{n},{'train' if n < 8 else 'val'},{n // 3}" for n in range(12)]
    (data / "index.csv").write_text("\n".join(["stem,split,group", *rows]))
    notes = check_data_set(read_data_set(data)).notes
    assert [(f.kind, f.file, f.text) for f in notes] == [
        ("leak", "clip 2", "has frames in train and val")
    ]


def test_tiny_polyp_is_reported(data: Path) -> None:
    mask = np.zeros((64, 64), np.uint8)
    mask[3, 3] = 255
    cv2.imwrite(str(data / "masks" / "3.png"), mask)
    notes = check_data_set(read_data_set(data)).notes
    assert [(f.kind, Path(f.file).name) for f in notes] == [("tiny polyp", "3.png")]


def test_a_training_decodes_every_frame_once(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: Counter[str] = Counter()
    decode = dataset_check._decode

    def counted(path: Path, findings: list[Any]) -> np.ndarray | None:
        opened[path.name] += 1
        return decode(path, findings)

    def refuse(pair: Pair) -> None:
        raise AssertionError(f"{pair.image} was read again")

    monkeypatch.setattr(dataset_check, "_decode", counted)
    monkeypatch.setattr(Pair, "read_frame", refuse)
    settings = TrainSettings(data=str(data), size=32)
    train_set, val_set = load_datasets(settings)
    assert (len(train_set), len(val_set)) == (8, 4)
    assert [opened[f"{n}.jpg"] for n in range(12)] == [1] * 12


def test_frames_of_the_check_are_those_that_a_data_set_reads(data: Path) -> None:
    found = read_data_set(data)
    usable = dataset_check.usable_samples(found, found.samples, False, 32)
    for sample in usable:
        frame, mask = load_pair(sample.sample.pair, 32)
        np.testing.assert_array_equal(sample.scaled[0], frame)
        np.testing.assert_array_equal(sample.scaled[1], mask)


def test_frame_that_its_metadata_turns_is_checked_as_it_is_read(data: Path) -> None:
    exif = Image.Exif()
    exif[0x112] = 6
    for stem in ("0", "1"):
        Image.new("RGB", (64, 48), (90, 0, 0)).save(data / "images" / f"{stem}.jpg", exif=exif)
    cv2.imwrite(str(data / "masks" / "0.png"), np.zeros((64, 48), np.uint8))
    cv2.imwrite(str(data / "masks" / "1.png"), np.zeros((48, 64), np.uint8))
    report = check_data_set(read_data_set(data))
    assert {(Path(f.file).name, f.kind) for f in report.errors} == {
        ("1.png", "size"),
        ("1.png", "mask"),
    }


def test_names_that_are_not_utf8(xpnet, data: Path) -> None:
    """Archives of Windows contain such names; OpenCV ends the process at one."""
    strict = os.environ | {"PYTHONIOENCODING": "utf-8:strict"}  # as on a terminal
    for folder, suffix in (("images", "jpg"), ("masks", "png")):
        name = os.fsencode(data / folder) + b"/caf\xe9." + suffix.encode()
        os.rename(data / folder / f"0.{suffix}", name)
    (data / "index.csv").unlink()
    result = xpnet("train", "check-data", data, env=strict)
    assert result.returncode == 0, result.stderr
    assert "errors: none" in result.stdout
    pairs = [s.pair for s in read_data_set(data).samples]
    assert len(PolypDataset(pairs, 32, 1, "none")) == 12
    (data / "masks" / "1.png").unlink()
    os.rename(data / "images" / "1.jpg", os.fsencode(data / "images") + b"/\xfc.jpg")
    result = xpnet("train", "check-data", data, env=strict)
    assert r"error: no mask: \udcfc" in result.stdout
