"""`xpnet export precisions`: several reports as one table."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from training.export.precision_table import read_reports
from xpnet.errors import UserError

REPORT = {
    "model": "xpnet_lite",
    "height": 384,
    "width": 384,
    "machine": "x86_64, a processor",
    "date": "2026-11-24",
    "precision": "int8",
    "frames": 64,
    "size_bytes": 1 << 20,
    "size_bytes_fp32": 4 << 20,
    "largest_difference": 0.25,
    "mean_difference": 0.002,
    "agreement": 0.99,
    "left_out": ["a"],
    "scores": {
        "kvasir-seg": {
            "fp32": {"dice": 0.9, "iou": 0.8, "frames": 4},
            "int8": {"dice": 0.89, "iou": 0.79, "frames": 4},
        }
    },
}


def _write(path: Path, **changes: object) -> Path:
    path.write_text(json.dumps({**REPORT, **changes}), encoding="utf-8")
    return path


def test_table_has_a_row_for_fp32_and_each_precision(xpnet, tmp_path: Path) -> None:
    scores = {"kvasir-seg": dict.fromkeys(("fp32",), REPORT["scores"]["kvasir-seg"]["fp32"])}
    scores["kvasir-seg"]["fp16"] = {"dice": 0.901, "iou": 0.801, "frames": 4}
    eight = _write(tmp_path / "8.json")
    half = _write(tmp_path / "16.json", precision="fp16", left_out=[], scores=scores)
    other = _write(tmp_path / "other.json", height=256, width=256, scores={})
    output = tmp_path / "all.json"
    result = xpnet("export", "precisions", eight, half, other, "--json", output)
    assert result.returncode == 0, result.stderr
    assert result.stdout == (
        "| model | size | precision | MiB | Kvasir-SEG: Dice / IoU | largest difference | mean "
        "| masks agree | in float |\n"
        "|---|---|---|---|---|---|---|---|---|\n"
        "| `xpnet_lite` | 256 x 256 | fp32 | 4.0 |  |  |  |  |  |\n"
        "| `xpnet_lite` | 256 x 256 | int8 | 1.0 |  | 0.2500 | 0.002000 | 0.9900 | 1 |\n"
        "| `xpnet_lite` | 384 x 384 | fp32 | 4.0 | 0.9000 / 0.8000 |  |  |  |  |\n"
        "| `xpnet_lite` | 384 x 384 | fp16 | 1.0 | 0.9010 / 0.8010 "
        "| 0.2500 | 0.002000 | 0.9900 | 0 |\n"
        "| `xpnet_lite` | 384 x 384 | int8 | 1.0 | 0.8900 / 0.7900 "
        "| 0.2500 | 0.002000 | 0.9900 | 1 |\n"
        "\nx86_64, a processor, 2026-11-24\n"
    )
    written = json.loads(output.read_text())
    assert [(r["height"], r["precision"]) for r in written] == [
        (256, "int8"),
        (384, "fp16"),
        (384, "int8"),
    ]
    assert written[2] == REPORT


def test_invalid_and_duplicate_reports_are_rejected(tmp_path: Path) -> None:
    good = _write(tmp_path / "good.json")
    bad = tmp_path / "bad.json"
    for text, said in (("{", "not a report"), ("[1]", "not a report"), ("{}", "no 'model' in it")):
        bad.write_text(text, encoding="utf-8")
        with pytest.raises(UserError, match=f"bad.json: .*{said}"):
            read_reports([good, bad])
    with pytest.raises(UserError, match=r"none\.json: not a report"):
        read_reports([tmp_path / "none.json"])
    with pytest.raises(UserError, match=r"b\.json: a second report of xpnet_lite, 384 x 384, int8"):
        read_reports([good, _write(tmp_path / "b.json")])
