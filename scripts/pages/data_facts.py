"""Counts of data sets for docs/data-card.md, measured on the files.

Usage, after scripts/setup.sh --train:
    .venv/bin/python -m scripts.pages.data_facts PolypGen=DIR Kvasir-SEG=DIR CVC-ClinicDB=DIR

It writes docs/data/data-sets.json, which contains no names of files.
"""

from __future__ import annotations

import datetime
import json
import statistics
import sys
from collections import Counter
from typing import Any

from scripts.pages.markdown import table
from training.data.dataset_check import check_data_set
from training.data.readers import DataSet, read_data_set
from training.evaluation.lesions import SIZES, Truth, count
from training.evaluation.scored_sets import parse_set
from xpnet.errors import UserError
from xpnet.files import write_text
from xpnet.paths import ROOT

FACTS = ROOT / "docs" / "data" / "data-sets.json"


def measure(data: DataSet) -> dict[str, Any]:
    """Count frames, polyps and findings of a data set.

    Args:
        data: The data set; every file is read.

    Returns:
        Counts by split, centre and size of the polyp, heights of the frames, kinds of findings.

    Raises:
        UserError: A mask cannot be read.
    """
    report = check_data_set(data)
    rows: dict[str, Any] = {}
    splits: dict[str, Any] = {}
    heights, everything = [], []
    for sample in data.samples:
        mask = sample.pair.read_mask()
        heights.append(mask.shape[0])
        found = Truth(mask).compare(mask)
        everything.append(found)
        row = rows.setdefault(sample.centre, {"frames": 0, "empty": 0, "splits": Counter()})
        row["frames"] += 1
        row["empty"] += not mask.any()
        row["splits"][sample.split] += 1
        split = splits.setdefault(sample.split, {"frames": 0, "empty": 0})
        split["frames"] += 1
        split["empty"] += not mask.any()
    has_splits = len(rows) > 1  # else all frames are scored, and none is trained on
    kinds = [f.kind for f in (*report.errors, *report.notes) if has_splits or f.kind != "leak"]
    sizes = {name: values["polyps"] for name, values in count(everything).items()}
    return {
        "frames": report.pairs,
        "empty": report.empty,
        "centres": dict(sorted(rows.items())) if has_splits else {},
        "splits": dict(sorted(splits.items())) if has_splits else {},
        "polyps": sizes,
        "height": [min(heights), statistics.median(heights), max(heights)],
        "findings": dict(sorted(Counter(kinds).items())),
    }


def sets_table(facts: dict[str, Any]) -> list[str]:
    """Return the table of all data sets.

    Args:
        facts: Content of FACTS.
    """
    sizes = [f"{name} ({_range(name)})" for name in SIZES]
    head = ["data set", "frames", "without a polyp", "polyps", *sizes, "height, median"]
    rows = [
        [name, _number(s["frames"]), _number(s["empty"]), _number(s["polyps"]["all"]),
         *(_number(s["polyps"][size]) for size in SIZES), f"{s['height'][1]:g}"]
        for name, s in facts["sets"].items()
    ]  # fmt: skip
    return [*table(head, rows), "", f"Counted on {facts['date']}."]


def centres_table(facts: dict[str, Any]) -> list[str]:
    """Return the table of the centres of the sets that have several."""
    head = ("centre", "frames", "without a polyp", "train", "val", "test")
    rows = [
        (centre, _number(row["frames"]), _number(row["empty"]),
         *(_number(row["splits"].get(split, 0)) for split in head[3:]))
        for data in facts["sets"].values() for centre, row in data["centres"].items()
    ]  # fmt: skip
    return table(head, rows)


def splits_table(facts: dict[str, Any]) -> list[str]:
    """Return the table of the splits of the sets that have several centres."""
    rows = [
        (split, _number(row["frames"]), _number(row["empty"]))
        for data in facts["sets"].values() for split, row in data["splits"].items()
    ]  # fmt: skip
    return table(("split", "frames", "without a polyp"), rows)


def findings_table(facts: dict[str, Any]) -> list[str]:
    """Return the table of what `xpnet train check-data` reports."""
    kinds = sorted({kind for data in facts["sets"].values() for kind in data["findings"]})
    rows = [
        [name, *(_number(data["findings"].get(kind, 0)) for kind in kinds)]
        for name, data in facts["sets"].items()
    ]
    return table(["data set", *kinds], rows)


def _range(size: str) -> str:
    low, high = SIZES[size]
    if low == 0:
        return f"below {high:.0%}"
    return f"from {low:.0%}" if high > 1 else f"{low:.0%} to {high:.0%}"


def _number(value: int) -> str:
    return f"{value:,}"


def main(words: list[str]) -> int:
    """Measure the data sets named on the command line; return the exit code."""
    if not words:
        print(__doc__, file=sys.stderr)
        return 2
    try:
        found = [parse_set(word) for word in words]
        sets = {one.name: measure(read_data_set(one.folder)) for one in found}
        facts = {"date": datetime.date.today().isoformat(), "sets": sets}
        write_text(FACTS, json.dumps(facts, indent=2) + "\n")
    except UserError as error:
        print(f"data_facts: {error}", file=sys.stderr)
        return 2
    print("\n".join(sets_table(facts)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
