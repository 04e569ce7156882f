"""Checks of a data set for `xpnet train check-data` and before a training.

Errors prevent a training: a frame or mask without its partner, a file that cannot be decoded in
full, a mask whose size differs from its frame, a mask in colours, no polyp in the whole set.
Notes do not: tiny polyps, duplicates, and a clip or picture that is in two splits.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image, ImageOps
from tqdm import tqdm

from training.data.pairs import Pair, scale_pair
from training.data.readers import DataSet, Sample
from xpnet.errors import UserError
from xpnet.frames import Frame, Mask

THUMBNAIL_SIZE = 24
"""Height and width, in pixels, of the thumbnails that are compared to find near duplicates."""
NEAR_DUPLICATE_CORRELATION = 0.997
"""Correlation of two thumbnails from which their frames count as near duplicates."""
MAX_CHANNEL_DIFFERENCE = 40
"""Largest difference of a grey mask's channels, in [0, 255]: JPEG leaves smaller ones."""
TINY_POLYP_SHARE = 0.001
"""Share of the frame below which a polyp is noted: it is often an annotation error."""


@dataclass(frozen=True)
class Finding:
    """One problem of one file.

    Attributes:
        kind: Short name of the problem; findings are counted by it.
        file: Path or stem of the file.
        text: Details.
    """

    kind: str
    file: str
    text: str


@dataclass
class Report:
    """Contents and problems of a data set.

    Attributes:
        pairs: Number of pairs.
        sizes: Number of frames per size.
        splits: Number of pairs per split.
        empty: Number of masks without a polyp.
        errors: Findings that prevent a training.
        notes: Findings that do not.
    """

    pairs: int
    sizes: Counter[str]
    splits: Counter[str]
    empty: int
    errors: list[Finding] = field(default_factory=list)
    notes: list[Finding] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """Return the report as a dictionary for JSON."""
        return {
            "pairs": self.pairs,
            "sizes": dict(self.sizes.most_common()),
            "splits": dict(sorted(self.splits.items())),
            "empty_masks": self.empty,
            "errors": [vars(f) for f in self.errors],
            "notes": [vars(f) for f in self.notes],
        }

    def as_lines(self) -> list[str]:
        """Return the report as text: the counts, then one line per finding."""
        sizes = ", ".join(f"{size} ({n})" for size, n in self.sizes.most_common(5))
        more = f" and {len(self.sizes) - 5} more" if len(self.sizes) > 5 else ""
        splits = ", ".join(f"{name} {n}" for name, n in sorted(self.splits.items()))
        lines = [
            f"pairs          {self.pairs}: {splits}",
            f"sizes          {sizes}{more}",
            f"empty masks    {self.empty}",
        ]
        for title, findings in (("error", self.errors), ("note", self.notes)):
            lines += [f"{title}: {f.kind}: {f.file}: {f.text}" for f in findings]
            counts = Counter(f.kind for f in findings)
            summary = ", ".join(f"{n} {kind}" for kind, n in counts.most_common())
            lines.append(f"{title}s: {summary or 'none'}")
        return lines


@dataclass(frozen=True)
class _Inspection:
    """Result of decoding the two files of one pair.

    Attributes:
        findings: Errors of the two files.
        size: Size of the frame, as text; empty if it cannot be decoded.
        polyp_share: Share of the mask that is polyp; -1 if the mask cannot be read.
        digest: SHA-256 of the image file; empty if it is missing.
        thumbnail: Normalised vector of the frame's pixels; None if it cannot be decoded.
        scaled: Frame and mask at the size of a training; None without a size or with findings.
    """

    findings: list[Finding]
    size: str
    polyp_share: float
    digest: str
    thumbnail: np.ndarray | None
    scaled: tuple[Frame, Mask] | None = None


@dataclass(frozen=True)
class UsableSample:
    """A sample that can be used for training, with its decoded files.

    Attributes:
        sample: Paths and split.
        scaled: Frame and mask, as `scale_pair` returns them.
    """

    sample: Sample
    scaled: tuple[Frame, Mask]


def check_data_set(data_set: DataSet) -> Report:
    """Open every file of a data set and return all errors and notes."""
    inspections = _inspect(data_set.samples)
    report = _report_pairs(data_set, inspections)
    report.notes += _find_duplicates(data_set.samples, inspections)
    report.notes += _find_divided_clips(data_set.samples)
    return report


def usable_samples(
    data_set: DataSet, samples: list[Sample], skip_bad: bool, size: int
) -> list[UsableSample]:
    """Decode the samples once; return those that can be used for training.

    Args:
        data_set: Data set that contains the samples.
        samples: Samples to check.
        skip_bad: Whether to leave out bad pairs instead of raising an error.
        size: Height and width of the training's frames, in pixels.

    Raises:
        UserError: A file is bad and `skip_bad` is not set, or no polyp is left.
    """
    inspections = _inspect(samples, size)
    bad = [i.findings[0] for i in inspections if i.findings]
    bad += [Finding("no mask", stem, "") for stem in data_set.without_mask]
    bad += [Finding("no image", stem, "") for stem in data_set.without_image]
    if bad and not skip_bad:
        first = f"{bad[0].kind}: {bad[0].file} {bad[0].text}".strip()
        raise UserError(
            f"{data_set.root}: {len(bad)} files cannot be used for training; the first: {first}; "
            f"`xpnet train check-data {data_set.root}` lists all; --skip-bad leaves them out"
        )
    kept = [(s, i) for s, i in zip(samples, inspections, strict=True) if not i.findings]
    if _has_masks(samples) and not any(i.polyp_share > 0 for _, i in kept):
        raise UserError(
            f"{data_set.root}: no polyp in any of {len(kept)} masks; expected at least one"
        )
    return [UsableSample(s, i.scaled) for s, i in kept if i.scaled is not None]


def _report_pairs(data_set: DataSet, inspections: list[_Inspection]) -> Report:
    report = Report(
        pairs=len(inspections),
        sizes=Counter(i.size for i in inspections if i.size),
        splits=Counter(s.split for s in data_set.samples),
        empty=sum(i.polyp_share == 0 for i in inspections),
        errors=[f for i in inspections for f in i.findings],
    )
    report.errors += [
        Finding("no mask", stem, "no mask has the name of this image")
        for stem in data_set.without_mask
    ]
    report.errors += [
        Finding("no image", stem, "no image has the name of this mask")
        for stem in data_set.without_image
    ]
    if _has_masks(data_set.samples) and not any(i.polyp_share > 0 for i in inspections):
        report.errors.append(
            Finding("no polyp", str(data_set.root), f"all {len(inspections)} masks are empty")
        )
    for sample, inspection in zip(data_set.samples, inspections, strict=True):
        share = inspection.polyp_share
        if 0 < share < TINY_POLYP_SHARE:
            text = f"{share:.3%} of the frame"
            report.notes.append(Finding("tiny polyp", str(sample.pair.mask), text))
    return report


def _has_masks(samples: list[Sample]) -> bool:
    return any(sample.pair.mask for sample in samples)


def _inspect(samples: list[Sample], size: int = 0) -> list[_Inspection]:
    with ThreadPoolExecutor() as pool:  # decoding releases the interpreter lock
        results = pool.map(lambda s: _inspect_pair(s.pair, size), samples)
        return list(tqdm(results, "checking files", total=len(samples), leave=False, disable=None))


def _inspect_pair(pair: Pair, training_size: int) -> _Inspection:
    findings: list[Finding] = []
    image = _decode(pair.image, findings)
    mask = _decode(pair.mask, findings) if pair.mask else None
    size, polyp_share, thumbnail, scaled = "", -1.0, None, None
    if image is not None:
        size = f"{image.shape[1]} x {image.shape[0]}"
        thumbnail = _thumbnail(image)
    if pair.mask is None and image is not None:
        polyp_share = 0.0
        if training_size:
            scaled = scale_pair(image, np.zeros(image.shape[:2], np.uint8), training_size)
    if mask is not None:
        channels = mask.astype(int)
        if np.ptp(channels, axis=2).max() > MAX_CHANNEL_DIFFERENCE:
            findings.append(
                Finding("colour mask", str(pair.mask), "has colours, expected black and white")
            )
        if image is not None and image.shape[:2] != mask.shape[:2]:
            text = f"{mask.shape[1]} x {mask.shape[0]}, expected {size}, the size of its frame"
            findings.append(Finding("size", str(pair.mask), text))
        try:
            labels = pair.read_mask()
            polyp_share = float(labels.mean())
            if training_size and image is not None and not findings:
                scaled = scale_pair(image, labels, training_size)
        except UserError as error:
            findings.append(Finding("mask", str(pair.mask), str(error)))
    digest = ""
    if pair.image.is_file():
        digest = hashlib.sha256(pair.image.read_bytes()).hexdigest()
    return _Inspection(findings, size, polyp_share, digest, thumbnail, scaled)


def _decode(path: Path, findings: list[Finding]) -> np.ndarray | None:
    """Decode to H x W x 3 with Pillow, whose errors name the problem; rotated as by OpenCV.

    The pixels are those of `read_image`; a test compares them.
    """
    try:
        with Image.open(path) as image:
            return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        findings.append(Finding("corrupt", str(path), f"cannot be decoded: {error}"))
        return None


def _thumbnail(image: np.ndarray) -> np.ndarray:
    """Return a small copy as a vector of mean 0 and length 1: a dot product is a correlation."""
    size = (THUMBNAIL_SIZE, THUMBNAIL_SIZE)
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    vector = small.astype(np.float32).ravel() - small.mean()
    return vector / max(float(np.linalg.norm(vector)), 1e-6)


def _find_duplicates(samples: list[Sample], inspections: list[_Inspection]) -> Iterator[Finding]:
    decoded = [i for i, found in enumerate(inspections) if found.thumbnail is not None]
    thumbnails = np.array([inspections[i].thumbnail for i in decoded])
    for row, i in enumerate(decoded):
        correlations = thumbnails[row + 1 :] @ thumbnails[row]
        for offset in np.flatnonzero(correlations >= NEAR_DUPLICATE_CORRELATION):
            j = decoded[row + 1 + int(offset)]
            is_exact = inspections[i].digest == inspections[j].digest
            kind = "exact duplicate" if is_exact else "near duplicate"
            first, second = samples[i], samples[j]
            text = f"of {second.pair.image}, correlation {correlations[offset]:.4f}"
            yield Finding(kind, str(first.pair.image), text)
            if first.split != second.split:
                splits = f"{first.split} and {second.split}"
                text = f"is in {splits}: {second.pair.image}"
                yield Finding("leak", str(first.pair.image), text)


def _find_divided_clips(samples: list[Sample]) -> Iterator[Finding]:
    splits_of: dict[tuple[str, str], set[str]] = defaultdict(set)
    for sample in samples:
        if sample.group:
            splits_of[sample.centre, sample.group].add(sample.split)
    for (centre, group), splits in sorted(splits_of.items()):
        if len(splits) > 1:
            name = f"clip {centre} {group}".replace("  ", " ")
            yield Finding("leak", name, f"has frames in {' and '.join(sorted(splits))}")
