"""Readers of the layouts in which data sets are published.

    plain         images/ and masks/ with equal stems; index.csv is optional
    PolypGen      data_C1/images_C1/X.jpg and data_C1/masks_C1/X_mask.jpg, up to C6
    Kvasir-SEG    images/ and masks/: plain
    CVC-ClinicDB  Original/N.tif and Ground Truth/N.tif, in the folder itself or in PNG/ or TIF/
    negativeOnly  seq1_neg/X.jpg, seq2_neg/X.jpg: PolypGen's sequences without polyps, without masks

An index.csv has the columns `stem` and `split`, and optionally `centre` and `group` (the clip).
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from training.data.pairs import Pair, Pairing, find_pairs, read_index
from xpnet.errors import UserError
from xpnet.images import list_images, natural_key

INDEX = "index.csv"
FRAMES_PER_GROUP = 25
"""Frames per group if clips can be told apart only by the order of the names."""
VAL_SHARE = 0.07
"""Share of the groups in `val` if there is no index; PolypGen's own share is similar."""
SPLIT_SEED = 1
FOLDS = ("fold1", "fold2", "fold3", "fold4", "fold5")
"""Splits of a cross-validation: `val` is another part of the clips in each, `train` the rest."""
TEST_CENTRE = "C6"
"""Centre that only FOLDS use for training: PolypGen's challenge reserves it for testing."""
NEGATIVE_LAYOUT = "negativeOnly"
FIRST_TEST_SEQUENCE = 14
"""PolypGen does not name the centre of a sequence without polyps. Those before this number have the
screen layouts of C4 and C5 or of none of the centres; later ones may be of TEST_CENTRE."""


@dataclass(frozen=True)
class Sample:
    """A pair with its place in the data set.

    Attributes:
        pair: Frame and mask.
        split: `train`, `val` or `test`.
        centre: Hospital, for instance `C1`; may be empty.
        group: Clip; may be empty.
    """

    pair: Pair
    split: str
    centre: str
    group: str


@dataclass(frozen=True)
class DataSet:
    """A data set on disk.

    Attributes:
        root: Folder of the data set.
        layout: Name of its layout.
        samples: Pairs with their splits.
        without_mask: Stems of images without a mask.
        without_image: Stems of masks without an image.
    """

    root: Path
    layout: str
    samples: list[Sample]
    without_mask: list[str]
    without_image: list[str]

    @property
    def files(self) -> list[Path]:
        """All files that were found, and the index: no output may replace them."""
        pairs = [s.pair for s in self.samples]
        return [self.root / INDEX, *(p.image for p in pairs), *(p.mask for p in pairs if p.mask)]

    def in_split(self, split: str | None) -> list[Sample]:
        """Return the samples of a split; all samples if `split` is None.

        Raises:
            UserError: The split has no sample.
        """
        found = [s for s in self.samples if split in (None, s.split)]
        if not found:
            known = ", ".join(sorted({s.split for s in self.samples}))
            hint = (
                "; an index.csv with the columns stem and split assigns each frame to a split"
                if self.layout != NEGATIVE_LAYOUT
                else "; the number of a sequence decides its split"
            )
            raise UserError(f"{self.root}: no frame of split '{split}'; found: {known}{hint}")
        return found


def read_data_set(root: Path, split: str = "groups") -> DataSet:
    """Find the pairs of a data set and assign each to `train`, `val` or `test`.

    The result is the same on each call, so scoring uses the split of the training.

    Args:
        root: Folder in one of the layouts of this module.
        split: `groups`: as in the index; without an index, whole clips go to one split, and
            centre 6 of PolypGen is `test`. `random`: 95 % train, 5 % val, as in the paper. One of
            FOLDS: whole clips, whatever the index says of their splits. Sequences without polyps
            are divided by their numbers in any case.

    Raises:
        UserError: The layout is unknown, or there is no pair.
    """
    if not root.is_dir():
        raise UserError(f"{root}: no such folder")
    if sequences := sorted(root.glob("seq*_neg"), key=lambda p: natural_key(p.name)):
        samples = [sample for folder in sequences for sample in _read_negative_sequence(folder)]
        return DataSet(root, NEGATIVE_LAYOUT, samples, [], [])
    layout, parts = _read_layout(root)
    samples, without_mask, without_image = [], [], []
    for centre, pairing in parts:
        samples += [Sample(p, "", centre, "") for p in pairing.pairs]
        without_mask += pairing.without_mask
        without_image += pairing.without_image
    index = root / INDEX
    rows = {row["stem"]: row for row in read_index(index)} if index.is_file() else {}
    samples = [_apply_index_row(s, rows.get(s.pair.stem)) for s in samples]
    if split == "random":
        samples = _split_randomly(samples)
    elif split in FOLDS:
        samples = _hold_out(_assign_groups(samples), FOLDS.index(split))
    elif not all(s.split for s in samples):
        if any(s.split for s in samples):
            missing = next(s.pair.stem for s in samples if not s.split)
            raise UserError(f"{index}: no split for '{missing}'; expected one for each frame")
        samples = _split_by_group(_assign_groups(samples))
    return DataSet(root, layout, samples, without_mask, without_image)


def _read_layout(root: Path) -> tuple[str, list[tuple[str, Pairing]]]:
    """Return the name of the layout, and the pairs of each centre."""
    if (root / "images").is_dir() and (root / "masks").is_dir():
        index = root / INDEX
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
        "masks_C1 or seq1_neg, or CVC-ClinicDB's Original and 'Ground Truth'"
    )


def _read_negative_sequence(folder: Path) -> list[Sample]:
    """Return the frames of a sequence without polyps; the whole of it is in one split.

    Raises:
        UserError: The name of the folder has no number, or there is no image in it.
    """
    number = re.fullmatch(r"seq(\d+)_neg", folder.name)
    if number is None:
        raise UserError(f"{folder}: expected the name of a sequence, such as seq1_neg")
    images = list_images(folder)
    if not images:
        raise UserError(f"{folder}: no image, expected the frames of a sequence")
    split = "test" if int(number[1]) >= FIRST_TEST_SEQUENCE else "train"
    return [
        Sample(Pair(f"{folder.name}_{path.stem}", path, None), split, "", folder.name)
        for path in images
    ]


def _apply_index_row(sample: Sample, row: dict[str, str] | None) -> Sample:
    if row is None:
        return sample
    return replace(
        sample,
        split=row.get("split") or "",
        centre=row.get("centre") or sample.centre,
        group=row.get("group") or "",
    )


def _assign_groups(samples: list[Sample]) -> list[Sample]:
    """Group samples by name without its last number, in runs of at most FRAMES_PER_GROUP."""
    by_name: dict[tuple[str, str], list[Sample]] = defaultdict(list)
    for sample in sorted(samples, key=lambda s: (s.centre, natural_key(s.pair.stem))):
        by_name[sample.centre, re.sub(r"\d+\D*$", "", sample.pair.stem)].append(sample)
    return [
        replace(s, group=s.group or f"{centre}:{name}:{number // FRAMES_PER_GROUP}")
        for (centre, name), found in by_name.items()
        for number, s in enumerate(found)
    ]


def _split_by_group(samples: list[Sample]) -> list[Sample]:
    groups = sorted({s.group for s in samples if s.centre != TEST_CENTRE})
    if len(groups) < 2:  # a single clip cannot be split
        return [replace(s, split="test" if s.centre == TEST_CENTRE else "train") for s in samples]
    order = np.random.default_rng(SPLIT_SEED).permutation(len(groups))
    val = {groups[i] for i in order[: max(1, round(VAL_SHARE * len(groups)))]}
    return [
        replace(
            s,
            split="test" if s.centre == TEST_CENTRE else "val" if s.group in val else "train",
        )
        for s in samples
    ]


def _hold_out(samples: list[Sample], fold: int) -> list[Sample]:
    """Put one of as many parts as there are FOLDS into `val`, the others into `train`.

    The longest clips are assigned first, each to the part that has the fewest frames of its centre,
    and of these the fewest of all.
    """
    frames = Counter((s.centre, s.group) for s in samples)
    taken: Counter[tuple[str, int]] = Counter()
    part_of = {}
    for (centre, group), count in sorted(frames.items(), key=lambda item: (-item[1], item[0])):
        part = min(range(len(FOLDS)), key=lambda p: (taken[centre, p], taken["all", p]))
        taken[centre, part] += count
        taken["all", part] += count
        part_of[centre, group] = part
    return [
        replace(s, split="val" if part_of[s.centre, s.group] == fold else "train") for s in samples
    ]


def _split_randomly(samples: list[Sample]) -> list[Sample]:
    samples = [s for s in samples if s.split != "test" and s.centre != TEST_CENTRE]
    order = np.random.default_rng(SPLIT_SEED).permutation(len(samples))
    val = set(order[: max(1, round(0.05 * len(samples)))].tolist())
    return [replace(s, split="val" if i in val else "train") for i, s in enumerate(samples)]
