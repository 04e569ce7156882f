"""Reading data sets in the layouts in which they are published.

    plain         images/ and masks/, the same stems; with an index.csv or without
    PolypGen      data_C1/images_C1/X.jpg and data_C1/masks_C1/X_mask.jpg, up to C6
    Kvasir-SEG    images/ and masks/: plain
    CVC-ClinicDB  Original/N.tif and Ground Truth/N.tif, in the folder itself or in PNG/ or TIF/

An index.csv has the columns `stem` and `split` and, where known, `centre` and `group` (the clip).
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from training.data.pairs import Pair, Pairing, find_pairs, read_index
from xpnet.errors import UserError
from xpnet.images import natural_key

BLOCK = 25
"""Frames of one group where only the order of the names tells clips apart."""
VAL_SHARE = 0.07
"""Of the groups, where the splits are ours to make; PolypGen's own share here is near it."""
SPLIT_SEED = 1
TEST_CENTRE = "C6"
"""Never trained on: the centre that PolypGen's challenge keeps for testing."""


@dataclass(frozen=True)
class Sample:
    """A pair with what is known of it: `centre` and `group` may be empty."""

    pair: Pair
    split: str
    centre: str
    group: str


@dataclass(frozen=True)
class Source:
    """A data set as found: its layout's name, its samples, and the stems without a partner."""

    root: Path
    layout: str
    samples: list[Sample]
    without_mask: list[str]
    without_image: list[str]

    def of(self, split: str | None) -> list[Sample]:
        """The samples of one split, all for None.

        Raises:
            UserError: there is none.
        """
        found = [s for s in self.samples if split in (None, s.split)]
        if not found:
            known = ", ".join(sorted({s.split for s in self.samples}))
            raise UserError(
                f"{self.root}: no frame of split '{split}', only of: {known}; an index.csv with "
                "the columns stem and split says which frames are which"
            )
        return found


def read_source(root: Path, split: str = "groups") -> Source:
    """Finds a data set's pairs and puts each into `train`, `val` or `test`.

    `split` is `groups` (as the index says; without one, whole clips go to one side, and centre 6
    of PolypGen is the test) or `random` (95 % train, 5 % val, as in the paper). Both are the same
    each time, so that scoring meets the split that training had.

    Raises:
        UserError: no known layout, or no pair in it.
    """
    if not root.is_dir():
        raise UserError(f"{root}: no such folder")
    layout, parts = _layout(root)
    samples, without_mask, without_image = [], [], []
    for centre, pairing in parts:
        samples += [Sample(p, "", centre, "") for p in pairing.pairs]
        without_mask += pairing.without_mask
        without_image += pairing.without_image
    index = root / "index.csv"
    rows = _read_index(index) if index.is_file() else {}
    samples = [_with_row(s, rows.get(s.pair.stem)) for s in samples]
    if split == "random":
        samples = _random_split(samples)
    elif not all(s.split for s in samples):
        if any(s.split for s in samples):
            lacking = next(s.pair.stem for s in samples if not s.split)
            raise UserError(f"{index}: no split for '{lacking}', though for others")
        samples = _group_split(_grouped(samples))
    return Source(root, layout, samples, without_mask, without_image)


def _layout(root: Path) -> tuple[str, list[tuple[str, Pairing]]]:
    if (root / "images").is_dir() and (root / "masks").is_dir():
        index = root / "index.csv"
        pairing = find_pairs(root / "images", root / "masks", index if index.is_file() else None)
        return "plain", [("", pairing)]
    centres = sorted(p.name for p in root.glob("data_C*") if p.is_dir())
    if centres:
        parts = []
        for name in centres:
            centre = name.removeprefix("data_")
            folder = root / name
            parts.append(
                (centre, find_pairs(folder / f"images_{centre}", folder / f"masks_{centre}"))
            )
        return "PolypGen", parts
    for folder in (root, root / "PNG", root / "TIF"):
        if (folder / "Original").is_dir() and (folder / "Ground Truth").is_dir():
            pairing = find_pairs(folder / "Original", folder / "Ground Truth")
            return "CVC-ClinicDB", [("", pairing)]
    raise UserError(
        f"{root}: no known layout: expected images/ and masks/, PolypGen's data_C1/images_C1 and "
        "masks_C1, or CVC-ClinicDB's Original and 'Ground Truth'"
    )


def _read_index(path: Path) -> dict[str, dict[str, str]]:
    return {row["stem"]: row for row in read_index(path)}


def _with_row(sample: Sample, row: dict[str, str] | None) -> Sample:
    if row is None:
        return sample
    return replace(
        sample,
        split=row.get("split") or "",
        centre=row.get("centre") or sample.centre,
        group=row.get("group") or "",
    )


def _grouped(samples: list[Sample]) -> list[Sample]:
    """Groups by the name without its last number; runs of BLOCK where that tells nothing."""
    by_name: dict[tuple[str, str], list[Sample]] = defaultdict(list)
    for sample in sorted(samples, key=lambda s: (s.centre, natural_key(s.pair.stem))):
        by_name[sample.centre, re.sub(r"\d+\D*$", "", sample.pair.stem)].append(sample)
    return [
        replace(s, group=s.group or f"{centre}:{name}:{number // BLOCK}")
        for (centre, name), found in by_name.items()
        for number, s in enumerate(found)
    ]


def _group_split(samples: list[Sample]) -> list[Sample]:
    groups = sorted({s.group for s in samples if s.centre != TEST_CENTRE})
    if len(groups) < 2:  # one clip: to score, or to be given an index
        return [replace(s, split="train") for s in samples]
    chosen = np.random.default_rng(SPLIT_SEED).permutation(len(groups))
    val = {groups[i] for i in chosen[: max(1, round(VAL_SHARE * len(groups)))]}
    return [
        replace(
            s,
            split="test" if s.centre == TEST_CENTRE else "val" if s.group in val else "train",
        )
        for s in samples
    ]


def _random_split(samples: list[Sample]) -> list[Sample]:
    samples = [s for s in samples if s.split != "test" and s.centre != TEST_CENTRE]
    order = np.random.default_rng(SPLIT_SEED).permutation(len(samples))
    val = set(order[: max(1, round(0.05 * len(samples)))].tolist())
    return [replace(s, split="val" if i in val else "train") for i, s in enumerate(samples)]
