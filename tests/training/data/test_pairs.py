from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from training.data.pairs import find_pairs
from xpnet.errors import UserError


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    for stem in "abc":
        cv2.imwrite(str(tmp_path / "images" / f"{stem}.jpg"), np.zeros((8, 8, 3), np.uint8))
    for stem in "bcd":
        cv2.imwrite(str(tmp_path / "masks" / f"{stem}.png"), np.zeros((8, 8), np.uint8))
    (tmp_path / "index.csv").write_text("stem,split\na,train\nb,train\nc,val\nd,val\n")
    return tmp_path


def test_files_are_paired_by_stem_and_unpaired_ones_listed(data: Path) -> None:
    found = find_pairs(data / "images", data / "masks")
    assert [p.stem for p in found.pairs] == ["b", "c"]
    assert (found.without_mask, found.without_image) == (["a"], ["d"])


def test_split(data: Path) -> None:
    found = find_pairs(data / "images", data / "masks", data / "index.csv", "val")
    assert [p.stem for p in found.pairs] == ["c"]
    assert (found.without_mask, found.without_image) == ([], ["d"])
    with pytest.raises(UserError, match="no row of split 'test'; found: train, val"):
        find_pairs(data / "images", data / "masks", data / "index.csv", "test")


@pytest.mark.parametrize("channels", [1, 3])
def test_masks_of_any_8_bit_format_are_thresholded_at_one_half(data: Path, channels: int) -> None:
    grey = np.array([[0, 120], [140, 255]], np.uint8)
    picture = grey if channels == 1 else np.dstack([grey] * 3)
    cv2.imwrite(str(data / "masks" / "b.png"), picture)
    pair = find_pairs(data / "images", data / "masks").pairs[0]
    np.testing.assert_array_equal(pair.read_mask(), [[0, 0], [1, 1]])


def test_frames_are_rgb(data: Path) -> None:
    red = np.zeros((8, 8, 3), np.uint8)
    red[..., 2] = 255  # OpenCV writes BGR
    cv2.imwrite(str(data / "images" / "b.jpg"), red, [cv2.IMWRITE_JPEG_QUALITY, 100])
    frame = find_pairs(data / "images", data / "masks").pairs[0].read_frame()
    assert frame[4, 4, 0] > 200 > 50 > frame[4, 4, 2]


def test_wrong_input_is_reported(data: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="none: no such folder"):
        find_pairs(data / "none", data / "masks")
    (data / "empty").mkdir()
    with pytest.raises(UserError, match="3 images, 0 masks, 0 pairs"):
        find_pairs(data / "images", data / "empty")
    (data / "masks" / "b.png").write_text("no picture")
    with pytest.raises(UserError, match=r"b\.png: cannot be read as a mask"):
        find_pairs(data / "images", data / "masks").pairs[0].read_mask()


def test_missing_files_of_the_index_are_listed(data: Path) -> None:
    (data / "index.csv").write_text("stem,split\nb,train\nz,train\n")
    found = find_pairs(data / "images", data / "masks", data / "index.csv", "train")
    assert (found.without_mask, found.without_image) == (["z"], ["z"])


def test_label_masks_are_read_and_ambiguous_masks_rejected(data: Path) -> None:
    pair = find_pairs(data / "images", data / "masks").pairs[0]
    cv2.imwrite(str(pair.mask), np.eye(4, dtype=np.uint8))
    np.testing.assert_array_equal(pair.read_mask(), np.eye(4))
    cv2.imwrite(str(pair.mask), np.eye(4, dtype=np.uint8) * 38)  # a palette's first colour
    with pytest.raises(UserError, match="brightest value is 38, expected masks of 0 and 255"):
        pair.read_mask()
