from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from training.data.pairs import Pair, find_pairs
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


@pytest.mark.parametrize(
    "content",
    [
        "\ufeffstem,split\nb,train\nc,val\n",  # as Excel saves "CSV UTF-8"
        "stem;split\r\nb;train\r\nc;val\r\n",  # where the comma separates decimals
        "\ufeffstem, split\nb, train\nc, val\n",
    ],
)
def test_index_of_a_spreadsheet_is_read(data: Path, content: str) -> None:
    (data / "index.csv").write_text(content, encoding="utf-8")
    found = find_pairs(data / "images", data / "masks", data / "index.csv", "val")
    assert [p.stem for p in found.pairs] == ["c"]


def test_split_of_other_work_has_a_prefix(data: Path) -> None:
    (data / "index.csv").write_text("stem,split\nb,medico-train\nc,external\n")
    index = data / "index.csv"
    found = find_pairs(data / "images", data / "masks", index, "medico-train")
    assert [p.stem for p in found.pairs] == ["b"]
    assert len(find_pairs(data / "images", data / "masks", index).pairs) == 2


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("b,train\nc,Val\n", "split 'Val' of 'c', expected train, val, test"),
        ("b,training\nc,val\n", "split 'training' of 'b', expected train, val, test"),
        ("b,train\nc,val\nb,val\n", "two rows of 'b', expected one"),
    ],
)
def test_row_that_would_be_left_out_is_refused(data: Path, rows: str, message: str) -> None:
    """Frames of a misspelt split were in no split, and of two rows the last was used."""
    (data / "index.csv").write_text(f"stem,split\n{rows}")
    with pytest.raises(UserError, match=message):
        find_pairs(data / "images", data / "masks", data / "index.csv")


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


@pytest.mark.parametrize(
    ("copy", "message"),
    [
        ("images/b.png", "images: b.jpg and b.png belong to the same frame, expected one"),
        ("masks/b_mask.png", "masks: b.png and b_mask.png belong to the same frame, expected one"),
    ],
)
def test_two_files_of_one_frame_are_refused(data: Path, copy: str, message: str) -> None:
    cv2.imwrite(str(data / copy), np.zeros((8, 8), np.uint8))
    with pytest.raises(UserError, match=message):
        find_pairs(data / "images", data / "masks")


POLYP = np.zeros((64, 96), np.uint8)
POLYP[10:30, 10:40] = 1


def written(path: Path, picture: np.ndarray) -> Pair:
    cv2.imwrite(str(path), picture)
    return Pair(path.stem, path, path)


@pytest.mark.parametrize("white", [1, 255, 65535])
def test_16_bit_mask_is_not_read_as_empty(tmp_path: Path, white: int) -> None:
    pair = written(tmp_path / "a.png", POLYP.astype(np.uint16) * white)
    np.testing.assert_array_equal(pair.read_mask(), POLYP)


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_mask_of_another_depth_is_read_or_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match="brightest value is 4095, expected masks of 0 and 255"):
        written(tmp_path / name, POLYP.astype(np.uint16) * 4095).read_mask()
    with pytest.raises(UserError, match=r"a\.tif: .*its values are float32, expected 8 or 16 bits"):
        written(tmp_path / "a.tif", POLYP.astype(np.float32)).read_mask()


def test_labels_other_than_0_and_1_are_refused(tmp_path: Path) -> None:
    for labels in (POLYP * 2, POLYP + 1, POLYP * 3):
        with pytest.raises(
            UserError, match=r"brightest value is [23], expected masks of 0 and 255"
        ):
            written(tmp_path / "a.png", labels).read_mask()
    empty = np.zeros((64, 96), np.uint8)
    empty[20, 20] = 12  # JPEG spreads it over the block
    assert cv2.imdecode(cv2.imencode(".jpg", empty)[1], cv2.IMREAD_GRAYSCALE).max() > 1
    assert not written(tmp_path / "a.jpg", empty).read_mask().any()


def test_polyp_in_the_transparent_channel_is_refused(tmp_path: Path) -> None:
    def rgba(colour: np.ndarray, alpha: np.ndarray) -> Pair:
        return written(tmp_path / "a.png", np.dstack([colour * 255] * 3 + [alpha * 255]))

    for colour in (np.zeros_like(POLYP), np.ones_like(POLYP)):
        with pytest.raises(UserError, match=r"a\.png: has transparent pixels that contradict"):
            rgba(colour, POLYP).read_mask()
    for alpha in (POLYP, np.ones_like(POLYP)):
        np.testing.assert_array_equal(rgba(POLYP, alpha).read_mask(), POLYP)


def turned_pair(folder: Path, orientation: int, mask: np.ndarray) -> Pair:
    """A frame of 64 x 96 pixels with an EXIF orientation, which OpenCV applies and Pillow not."""
    exif = Image.Exif()
    exif[0x112] = orientation
    frame = np.dstack([POLYP * 200] * 3)
    Image.fromarray(frame).save(folder / "a.jpg", exif=exif)
    cv2.imwrite(str(folder / "a.png"), mask * 255)
    return Pair("a", folder / "a.jpg", folder / "a.png")


def test_mask_of_a_frame_that_its_metadata_turns(tmp_path: Path) -> None:
    for orientation in (3, 6):
        with pytest.raises(UserError, match=r"a\.png: may not match its frame, whose metadata"):
            turned_pair(tmp_path, orientation, POLYP).read_mask()
    clockwise = np.rot90(POLYP, -1)
    pair = turned_pair(tmp_path, 6, clockwise)
    np.testing.assert_array_equal(pair.read_mask(), clockwise)
    assert ((pair.read_frame()[..., 0] > 100) != clockwise).mean() < 0.01  # the JPEG's loss
    np.testing.assert_array_equal(turned_pair(tmp_path, 1, POLYP).read_mask(), POLYP)
