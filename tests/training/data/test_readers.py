"""The layouts in which data sets are published, and their splits."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import cv2
import numpy as np
import pytest

from training.data.readers import FOLDS, read_data_set
from xpnet.errors import UserError


def write(path: Path, mask: bool = False) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = (8, 8) if mask else (8, 8, 3)
    cv2.imwrite(str(path), np.full(shape, 255, np.uint8))


@pytest.fixture
def polypgen(tmp_path: Path) -> Path:
    for centre in range(1, 7):
        for number in range(40):
            stem = f"{centre}H{number:04}"
            write(tmp_path / f"data_C{centre}" / f"images_C{centre}" / f"{stem}.jpg")
            write(tmp_path / f"data_C{centre}" / f"masks_C{centre}" / f"{stem}_mask.jpg", True)
    return tmp_path


def test_polypgen_layout(polypgen: Path) -> None:
    source = read_data_set(polypgen)
    assert (source.layout, len(source.samples)) == ("PolypGen", 240)
    assert source.without_mask == source.without_image == []
    sample = next(s for s in source.samples if s.pair.stem == "3H0007")
    assert sample.centre == "C3"
    assert sample.pair.mask.name == "3H0007_mask.jpg"


def test_centre_6_is_the_test_split_and_no_clip_is_in_two_splits(polypgen: Path) -> None:
    source = read_data_set(polypgen)
    assert {s.split for s in source.samples if s.centre == "C6"} == {"test"}
    assert {s.centre for s in source.in_split("test")} == {"C6"}
    splits_of_clip = defaultdict(set)
    for s in source.samples:
        splits_of_clip[s.group].add(s.split)
    assert all(len(splits) == 1 for splits in splits_of_clip.values())
    assert {s.split for s in source.samples} == {"train", "val", "test"}
    assert read_data_set(polypgen).samples == source.samples


def test_centre_6_stays_the_test_split_beside_a_single_clip(tmp_path: Path) -> None:
    for centre in (1, 6):
        for number in range(3):
            stem = f"{centre}H{number:04}"
            write(tmp_path / f"data_C{centre}" / f"images_C{centre}" / f"{stem}.jpg")
            write(tmp_path / f"data_C{centre}" / f"masks_C{centre}" / f"{stem}_mask.jpg", True)
    source = read_data_set(tmp_path)
    assert {(s.centre, s.split) for s in source.samples} == {("C1", "train"), ("C6", "test")}


def test_the_papers_random_split(polypgen: Path) -> None:
    source = read_data_set(polypgen, "random")
    assert (len(source.in_split("train")), len(source.in_split("val"))) == (190, 10)
    assert "C6" not in {s.centre for s in source.samples}
    assert read_data_set(polypgen, "random").samples == source.samples


def test_folds_hold_out_every_frame_once_and_divide_no_clip(polypgen: Path) -> None:
    held_out = []
    for fold in FOLDS:
        source = read_data_set(polypgen, fold)
        parts = {
            split: {(s.centre, s.group) for s in source.in_split(split)}
            for split in ("train", "val")
        }
        assert not parts["train"] & parts["val"]
        held_out += [s.pair.stem for s in source.in_split("val")]
    assert sorted(held_out) == sorted(s.pair.stem for s in read_data_set(polypgen).samples)


def test_folds_have_as_many_frames_of_each_centre(tmp_path: Path) -> None:
    # Without the centres, the long clip would leave its part without the other centre.
    clips = [("C1", 9), *[("C1", 1)] * 4, *[("C2", 2)] * 5]
    rows, number = ["stem,centre,group,split"], 0
    for clip, (centre, frames) in enumerate(clips):
        for _ in range(frames):
            write(tmp_path / "images" / f"{number}.jpg")
            write(tmp_path / "masks" / f"{number}.png", True)
            rows.append(f"{number},{centre},clip {clip},train")
            number += 1
    (tmp_path / "index.csv").write_text("\n".join(rows))
    held_out = [read_data_set(tmp_path, fold).in_split("val") for fold in FOLDS]
    assert [sum(s.centre == "C2" for s in part) for part in held_out] == [2] * 5
    assert sorted(sum(s.centre == "C1" for s in part) for part in held_out) == [1, 1, 1, 1, 9]


@pytest.mark.parametrize("folder", ["", "PNG", "TIF"])
def test_cvc_clinicdb_layout(tmp_path: Path, folder: str) -> None:
    for number in (2, 10, 1):
        write(tmp_path / folder / "Original" / f"{number}.tif")
        write(tmp_path / folder / "Ground Truth" / f"{number}.tif", True)
    source = read_data_set(tmp_path)
    assert source.layout == "CVC-ClinicDB"
    assert sorted(s.pair.stem for s in source.samples) == ["1", "10", "2"]


def test_split_centre_and_clip_are_read_from_the_index(tmp_path: Path) -> None:
    for stem in "abc":
        write(tmp_path / "images" / f"{stem}.jpg")
        write(tmp_path / "masks" / f"{stem}.png", True)
    (tmp_path / "index.csv").write_text("stem,centre,group,split\na,C1,x,train\nb,C2,y,val\n")
    source = read_data_set(tmp_path)
    found = {s.pair.stem: (s.split, s.centre, s.group) for s in source.samples}
    assert found == {"a": ("train", "C1", "x"), "b": ("val", "C2", "y")}
    with pytest.raises(UserError, match="no frame of split 'test'; found: train, val"):
        source.in_split("test")
    assert len(source.in_split(None)) == 2


def test_sequences_without_polyps_have_empty_masks_and_undivided_splits(tmp_path: Path) -> None:
    for number in (2, 13, 14):
        write(tmp_path / f"seq{number}_neg" / "img1.jpg")
        write(tmp_path / f"seq{number}_neg" / "img2.jpg")
    source = read_data_set(tmp_path)
    assert source.layout == "negativeOnly"
    assert [(s.group, s.split) for s in source.samples[::2]] == [
        ("seq2_neg", "train"), ("seq13_neg", "train"), ("seq14_neg", "test"),
    ]  # fmt: skip
    assert len({s.pair.stem for s in source.samples}) == len(source.samples) == 6
    mask = source.samples[0].pair.read_mask()
    assert (mask.shape, mask.any()) == ((8, 8), False)
    assert source.files[1:] == [s.pair.image for s in source.samples]
    with pytest.raises(UserError, match="no frame of split 'val'; found: test, train; the num"):
        source.in_split("val")
    (tmp_path / "seq1_neg").mkdir()
    with pytest.raises(UserError, match="seq1_neg: no image"):
        read_data_set(tmp_path)
    (tmp_path / "seq1_neg").rmdir()
    (tmp_path / "seqA_neg").mkdir()
    with pytest.raises(UserError, match=r"seqA_neg: expected the name of a sequence"):
        read_data_set(tmp_path)


def test_unknown_layout_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no known layout: expected images/ and masks/"):
        read_data_set(tmp_path)
    with pytest.raises(UserError, match="none: no such folder"):
        read_data_set(tmp_path / "none")
