"""The polyps of one clip as a Parquet file: a row a frame, what made it in the metadata."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from deepstream.archive.clips import Clip
from xpnet import __version__

METADATA_KEY = b"xpnet_clip"
"""Key of the facts about the clip, as JSON, in the metadata of a Parquet file."""
ROW_GROUP = 4096
"""Frames that are held in memory until they are written."""


@dataclass(frozen=True)
class Facts:
    """What a Parquet file says about its clip.

    Attributes:
        clip: The clip as it was when it was read.
        model: Name of the model.
        card_sha256: Checksum of the model's card.
        backend: Runtime of the inference.
        masks: Whether a clip with masks was written beside it.
        frames: Number of frames.
        frames_with_polyp: Number of frames that show a polyp.
        failure: Why the clip is incomplete; empty if it is complete.
        version: Version of XP-Net.
    """

    clip: Clip
    model: str
    card_sha256: str
    backend: str
    masks: bool
    frames: int
    frames_with_polyp: int
    failure: str = ""
    version: str = __version__


def parquet_path(output: Path, name: str) -> Path:
    """Return the path of a clip's results.

    Args:
        output: The folder of all results.
        name: The clip's path within the archive.
    """
    return output / f"{name}.parquet"


def masks_path(output: Path, name: str) -> Path:
    """Return the path of a clip with masks; the arguments are those of `parquet_path`."""
    return output / f"{name}.masks.mp4"


def schema() -> Any:
    """Return the columns of a Parquet file."""
    import pyarrow

    polyp = pyarrow.struct(
        {
            "id": pyarrow.int32(),
            "box": pyarrow.list_(pyarrow.int32()),  # left, top, width, height in pixels
            "probability": pyarrow.float64(),
            "area": pyarrow.float64(),  # share of the frame
        }
    )
    return pyarrow.schema(
        {
            "clip": pyarrow.string(),
            "frame": pyarrow.int64(),
            "time": pyarrow.float64(),  # seconds from the start of the clip
            "polyps": pyarrow.list_(polyp),  # null for a frame without a mask
        }
    )


def write_parquet(path: Path, lines: Iterable[str], facts: Facts) -> None:
    """Write the results of a clip.

    Args:
        path: A temporary name; see xpnet.files.
        lines: JSON lines as of `xpnet run --polyps`.
        facts: What the file says about its clip.
    """
    import pyarrow
    from pyarrow import parquet

    columns = schema().with_metadata({METADATA_KEY: json.dumps(asdict(facts))})
    rows = _rows(facts.clip.name, lines)
    with parquet.ParquetWriter(path, columns) as writer:
        while group := list(islice(rows, ROW_GROUP)):
            writer.write_table(pyarrow.Table.from_pylist(group, columns))


def _rows(clip: str, lines: Iterable[str]) -> Iterator[dict[str, Any]]:
    """Yield the rows; keys that are no columns, such as a polyp's contour, are left out."""
    for line in lines:
        yield {"clip": clip, **json.loads(line)}


def read_facts(path: Path) -> Facts | None:
    """Return what a Parquet file says about its clip; None if it is missing or not one of ours.

    Args:
        path: The file.
    """
    import pyarrow
    from pyarrow import parquet

    try:
        found = json.loads((parquet.read_schema(path).metadata or {})[METADATA_KEY])
        return Facts(**{**found, "clip": Clip(**found["clip"])})
    except (OSError, pyarrow.ArrowInvalid, KeyError, TypeError, ValueError):
        return None


def remove_stale(output: Path, clip: Clip, model: str, card_sha256: str) -> None:
    """Remove results of a clip that are of another model or of an earlier state of the clip.

    Incomplete results of this model and clip are kept: their metadata say so.

    Args:
        output: The folder of all results.
        clip: The clip as it is now.
        model: Name of the model.
        card_sha256: Checksum of the model's card.

    Raises:
        OSError: A file cannot be removed.
    """
    table = parquet_path(output, clip.name)
    facts = read_facts(table)
    if facts is None or (facts.clip, facts.model, facts.card_sha256) != (clip, model, card_sha256):
        table.unlink(missing_ok=True)
        facts = None
    if facts is None or not facts.masks:
        masks_path(output, clip.name).unlink(missing_ok=True)


def is_done(output: Path, clip: Clip, model: str, card_sha256: str, masks: bool) -> bool:
    """Return whether a clip needs not be done again.

    Args:
        output: The folder of all results.
        clip: The clip as it is now.
        model: Name of the model.
        card_sha256: Checksum of the model's card.
        masks: Whether a clip with masks is wanted.
    """
    facts = read_facts(parquet_path(output, clip.name))
    if facts is None or facts.failure:
        return False
    if masks and not (facts.masks and masks_path(output, clip.name).is_file()):
        return False
    return (facts.clip, facts.model, facts.card_sha256) == (clip, model, card_sha256)
