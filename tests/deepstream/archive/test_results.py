"""Parquet files of clips, and which clips a resumed job leaves out."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from deepstream.archive.clips import Clip
from deepstream.archive.results import (
    ROW_GROUP,
    Facts,
    is_done,
    masks_path,
    parquet_path,
    read_facts,
    write_parquet,
)
from xpnet.polyps import Polyp, write_line

parquet = pytest.importorskip("pyarrow.parquet", reason="needs scripts/setup.sh --archive")

CLIP = Clip("2026/a.mp4", 1000, 123_456_789)
FACTS = Facts(CLIP, "a_model", "0" * 64, "onnxruntime", False, 3, 1)
CONTOUR = np.array([[1, 2], [3, 4]], dtype=np.int32)


def lines(path: Path) -> list[str]:
    """Three frames as `xpnet run --polyps` writes them: without a mask, without and with polyps."""
    polyps = [
        Polyp(0.25, (1, 2, 30, 40), CONTOUR, 0.9876543, 7),
        Polyp(0.125, (5, 6, 7, 8), CONTOUR),
    ]
    with path.open("w", encoding="utf-8") as stream:
        write_line(stream, 0, None, None)
        write_line(stream, 1, 40_000_000, [])
        write_line(stream, 2, 80_000_000, polyps)
    return path.read_text(encoding="utf-8").splitlines()


def test_rows_are_those_of_the_json_lines(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    write_parquet(path, lines(tmp_path / "a.jsonl"), FACTS)
    first = {"id": 7, "box": [1, 2, 30, 40], "probability": 0.9877, "area": 0.25}
    second = {"id": None, "box": [5, 6, 7, 8], "probability": None, "area": 0.125}
    assert parquet.read_table(path).to_pylist() == [
        {"clip": CLIP.name, "frame": 0, "time": None, "polyps": None},
        {"clip": CLIP.name, "frame": 1, "time": 0.04, "polyps": []},
        {"clip": CLIP.name, "frame": 2, "time": 0.08, "polyps": [first, second]},
    ]
    assert read_facts(path) == FACTS


def test_long_clip_is_written_in_groups(tmp_path: Path) -> None:
    path, count = tmp_path / "a.parquet", ROW_GROUP + 3
    rows = [json.dumps({"frame": i, "time": i / 25, "polyps": []}) for i in range(count)]
    write_parquet(path, rows, FACTS)
    assert parquet.read_metadata(path).num_row_groups == 2
    assert parquet.read_table(path)["frame"].to_pylist() == list(range(count))


@pytest.mark.parametrize("content", [None, b"", b"PAR1 and no more", "other"])
def test_file_of_others_says_nothing(tmp_path: Path, content: bytes | str | None) -> None:
    path = tmp_path / "a.parquet"
    if content == "other":
        import pyarrow

        parquet.write_table(pyarrow.table({"a": [1]}), path)
    elif isinstance(content, bytes):
        path.write_bytes(content)
    assert read_facts(path) is None


def put(output: Path, facts: Facts) -> None:
    path = parquet_path(output, facts.clip.name)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_parquet(path, [], facts)


def done(output: Path, clip: Clip = CLIP, masks: bool = False) -> bool:
    return is_done(output, clip, FACTS.model, FACTS.card_sha256, masks)


def test_clip_is_done_once_its_file_is_there(tmp_path: Path) -> None:
    assert not done(tmp_path)
    put(tmp_path, FACTS)
    assert done(tmp_path)


@pytest.mark.parametrize("changed", [replace(CLIP, size=1001), replace(CLIP, modified_ns=1)])
def test_changed_clip_is_done_again(tmp_path: Path, changed: Clip) -> None:
    put(tmp_path, FACTS)
    assert not done(tmp_path, changed)


@pytest.mark.parametrize(
    "facts",
    [
        replace(FACTS, model="other"),
        replace(FACTS, card_sha256="1" * 64),
        replace(FACTS, failure="broken after 3 frames"),
    ],
)
def test_clip_of_another_model_or_incomplete_is_done_again(tmp_path: Path, facts: Facts) -> None:
    put(tmp_path, facts)
    assert not done(tmp_path)


def test_clip_is_done_again_for_masks_that_are_missing(tmp_path: Path) -> None:
    put(tmp_path, FACTS)
    masks_path(tmp_path, CLIP.name).write_bytes(b"of an earlier model")
    assert not done(tmp_path, masks=True)
    put(tmp_path, replace(FACTS, masks=True))
    assert done(tmp_path, masks=True)
    assert done(tmp_path)
    masks_path(tmp_path, CLIP.name).unlink()
    assert not done(tmp_path, masks=True)
