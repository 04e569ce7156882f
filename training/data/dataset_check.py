"""`xpnet train check-data`: what is wrong with a data set, file by file, and what to know of it.

Errors keep a training from starting: a pair without its partner, a file that cannot be decoded in
full, a mask of another size than its frame, a mask in colours, no polyp anywhere. Notes do not:
empty masks, duplicates, and frames of one clip or of one picture on two sides of a split.
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
from PIL import Image
from tqdm import tqdm

from training.data.pairs import Pair
from training.data.readers import Sample, Source
from xpnet.errors import UserError

THUMBNAIL = 24
"""Pixels, height and width, of the pictures by which near duplicates are found."""
NEAR = 0.997
"""Correlation of two thumbnails from which frames count as near duplicates."""
COLOUR = 40
"""Difference of a mask's colour channels, of 255, above what JPEG leaves on grey."""
TINY = 0.001
"""Share of the frame below which a polyp is named: often a slip of the pen."""


@dataclass(frozen=True)
class Finding:
    """One thing about one file; `kind` is what findings are counted by."""

    kind: str
    file: str
    text: str


@dataclass
class Report:
    """What a data set holds. `errors` keep a training from starting, `notes` do not."""

    pairs: int
    sizes: Counter[str]
    splits: Counter[str]
    empty: int
    errors: list[Finding] = field(default_factory=list)
    notes: list[Finding] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "pairs": self.pairs,
            "sizes": dict(self.sizes.most_common()),
            "splits": dict(sorted(self.splits.items())),
            "empty_masks": self.empty,
            "errors": [vars(f) for f in self.errors],
            "notes": [vars(f) for f in self.notes],
        }

    def as_lines(self) -> list[str]:
        """For a person: counts, then one line a finding."""
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
class _Seen:
    """What one pair's files told."""

    findings: list[Finding]
    size: str
    foreground: float
    digest: str
    thumbnail: np.ndarray | None


def check(source: Source) -> Report:
    """Opens every file of a data set; see the module for what it looks for."""
    seen = _look(source.samples)
    report = _pair_report(source, seen)
    report.notes += _duplicates(source.samples, seen)
    report.notes += _split_groups(source.samples)
    return report


def sound(source: Source, samples: list[Sample], skip_bad: bool) -> list[Sample]:
    """The samples that can be trained on; all of them, unless `skip_bad` leaves some out.

    Raises:
        UserError: something is wrong and `skip_bad` is not set, or no polyp is left.
    """
    seen = _look(samples)
    bad = [s.findings[0] for s in seen if s.findings]
    bad += [Finding("no mask", stem, "") for stem in source.without_mask]
    bad += [Finding("no image", stem, "") for stem in source.without_image]
    if bad and not skip_bad:
        first = f"{bad[0].kind}: {bad[0].file} {bad[0].text}".strip()
        raise UserError(
            f"{source.root}: {len(bad)} files are not fit for training, the first: {first}. "
            f"`xpnet train check-data {source.root}` names them all; --skip-bad trains without them"
        )
    kept = [(s, v) for s, v in zip(samples, seen, strict=True) if not v.findings]
    if not any(v.foreground > 0 for _, v in kept):
        raise UserError(f"{source.root}: no polyp in any of {len(kept)} masks: nothing to learn")
    return [s for s, _ in kept]


def _pair_report(source: Source, seen: list[_Seen]) -> Report:
    report = Report(
        pairs=len(seen),
        sizes=Counter(s.size for s in seen if s.size),
        splits=Counter(s.split for s in source.samples),
        empty=sum(s.foreground == 0 for s in seen),
        errors=[f for s in seen for f in s.findings],
    )
    report.errors += [
        Finding("no mask", stem, "the image has no mask of its name")
        for stem in source.without_mask
    ]
    report.errors += [
        Finding("no image", stem, "the mask has no image of its name")
        for stem in source.without_image
    ]
    if not any(s.foreground > 0 for s in seen):
        report.errors.append(
            Finding("no polyp", str(source.root), f"all of {len(seen)} masks are empty")
        )
    for sample, found in zip(source.samples, seen, strict=True):
        if 0 < found.foreground < TINY:
            report.notes.append(
                Finding("tiny polyp", str(sample.pair.mask), f"{found.foreground:.3%} of the frame")
            )
    return report


def _look(samples: list[Sample]) -> list[_Seen]:
    with ThreadPoolExecutor() as pool:  # decoding releases the interpreter
        found = pool.map(lambda s: _look_at(s.pair), samples)
        return list(tqdm(found, "checking files", total=len(samples), leave=False, disable=None))


def _look_at(pair: Pair) -> _Seen:
    findings: list[Finding] = []
    image, mask = (_decoded(path, findings) for path in (pair.image, pair.mask))
    size, foreground, thumbnail = "", -1.0, None
    if image is not None:
        size = f"{image.shape[1]} x {image.shape[0]}"
        thumbnail = _thumbnail(image)
    if mask is not None:
        channels = mask.astype(int)
        if np.ptp(channels, axis=2).max() > COLOUR:
            findings.append(
                Finding("colour mask", str(pair.mask), "has colours, expected black and white")
            )
        if image is not None and image.shape[:2] != mask.shape[:2]:
            findings.append(
                Finding(
                    "size",
                    str(pair.mask),
                    f"{mask.shape[1]} x {mask.shape[0]}, its frame is {size}",
                )
            )
        try:
            foreground = float(pair.read_mask().mean())
        except UserError as error:
            findings.append(Finding("mask", str(pair.mask), str(error)))
    digest = ""
    if pair.image.is_file():
        digest = hashlib.sha256(pair.image.read_bytes()).hexdigest()
    return _Seen(findings, size, foreground, digest, thumbnail)


def _decoded(path: Path, findings: list[Finding]) -> np.ndarray | None:
    """H x W x 3. Pillow, since OpenCV takes a JPEG that ends too early for a whole one."""
    try:
        with Image.open(path) as image:
            return np.asarray(image.convert("RGB"))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        findings.append(Finding("corrupt", str(path), f"cannot be decoded: {error}"))
        return None


def _thumbnail(image: np.ndarray) -> np.ndarray:
    small = cv2.resize(image, (THUMBNAIL, THUMBNAIL), interpolation=cv2.INTER_AREA)
    vector = small.astype(np.float32).ravel() - small.mean()
    return vector / max(float(np.linalg.norm(vector)), 1e-6)


def _duplicates(samples: list[Sample], seen: list[_Seen]) -> Iterator[Finding]:
    usable = [i for i, s in enumerate(seen) if s.thumbnail is not None]
    thumbnails = np.array([seen[i].thumbnail for i in usable])
    for row, i in enumerate(usable):
        likeness = thumbnails[row + 1 :] @ thumbnails[row]
        for other in np.flatnonzero(likeness >= NEAR):
            j = usable[row + 1 + int(other)]
            same = seen[i].digest == seen[j].digest
            kind = "exact duplicate" if same else "near duplicate"
            ours, theirs = samples[i], samples[j]
            text = f"of {theirs.pair.image}, correlation {likeness[other]:.4f}"
            yield Finding(kind, str(ours.pair.image), text)
            if ours.split != theirs.split:
                sides = f"{ours.split} and {theirs.split}: {theirs.pair.image}"
                yield Finding("leak", str(ours.pair.image), f"stands in {sides}")


def _split_groups(samples: list[Sample]) -> Iterator[Finding]:
    sides: dict[tuple[str, str], set[str]] = defaultdict(set)
    for sample in samples:
        if sample.group:
            sides[sample.centre, sample.group].add(sample.split)
    for (centre, group), splits in sorted(sides.items()):
        if len(splits) > 1:
            name = f"clip {centre} {group}".replace("  ", " ")
            yield Finding("leak", name, f"has frames in {' and '.join(sorted(splits))}")
