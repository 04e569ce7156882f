from __future__ import annotations

import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from xpnet.errors import UserError
from xpnet.images import frame_count, list_images, read_image


def test_numbers_sort_by_value_and_hidden_files_are_left_out(tmp_path: Path) -> None:
    for name in ("10.png", "2.png", "1.JPG", "._1.png", "a.txt", "frame2b.png", "frame10.png"):
        (tmp_path / name).touch()
    names = [p.name for p in list_images(tmp_path)]
    assert names == ["1.JPG", "2.png", "10.png", "frame2b.png", "frame10.png"]


def test_reads_rgb(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), np.full((4, 5, 3), (1, 2, 3), np.uint8))
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), np.full((4, 5, 3), (3, 2, 1)))


def test_image_header_with_too_many_pixels_is_reported(tmp_path: Path) -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)
    png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IEND", b"")
    (tmp_path / "huge.png").write_bytes(png)
    with pytest.raises(UserError, match=r"huge\.png: cannot be decoded as an image"):
        read_image(tmp_path / "huge.png")


def test_truncated_jpeg_is_reported(tmp_path: Path) -> None:
    """OpenCV decodes it without an error; its thumbnail, before the picture, is complete."""
    noise = np.random.default_rng(0).integers(0, 255, (64, 96, 3)).astype(np.uint8)
    picture = cv2.imencode(".jpg", noise)[1].tobytes()
    comment = b"\xff\xfe" + struct.pack(">H", len(picture) + 2) + picture
    whole = picture[:2] + comment + picture[2:]
    for name, content in (("whole.jpg", whole), ("padded.jpg", whole + bytes(100))):
        (tmp_path / name).write_bytes(content)
        decoded = cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR)
        np.testing.assert_array_equal(read_image(tmp_path / name)[..., ::-1], decoded)
    (tmp_path / "half.jpg").write_bytes(whole[: -len(picture) // 2])
    with pytest.raises(UserError, match=r"half\.jpg: cannot be decoded completely: the file ends"):
        read_image(tmp_path / "half.jpg")


def test_clip_whose_name_is_not_utf8_is_reported(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="expected a name in UTF-8: OpenCV reads no other"):
        frame_count(tmp_path / "caf\udce9.mp4")
