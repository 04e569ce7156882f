"""The comparison with peers on a small data set, and the plot of accuracy over time."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import one_line
from training.evaluation.tradeoff import draw_tradeoff, fastest_times
from training.models.weight_files import load_network
from training.peer_comparison import ROWS, as_markdown
from xpnet.card import read_card
from xpnet.errors import UserError

TINY = ("size=32", "epochs=1", "batch=4", "workers=0", "accelerator=cpu", "precision=32-true")
SCORES = {"frames": 4, "dice": 0.5, "interval": [0.4, 0.6], "iou": 0.4, "polyps": {}}
MADE = {"machine": "a machine", "cores": 2, "date": "2026-11-28"}
ACCURACY: dict[str, Any] = {
    "settings": {"epochs": 1, "size": 32, "batch": 4, "loss": "dv", "seed": 1},
    "rows": {
        name: {
            "network": network,
            "parameters": 9,
            "minutes": 1.0,
            "scores": {"val": SCORES},
            **MADE,
        }
        for name, network in (("lite, from ImageNet", "lite"), ("basicunet", "basicunet"))
    },
}
SPEED: dict[str, Any] = {
    "rows": [
        {"network": "lite", "size": 64, "batch": 1, "median_ms": 30.0},
        {"network": "lite", "size": 64, "batch": 1, "median_ms": 20.0},
        {"network": "lite", "size": 64, "batch": 4, "median_ms": 1.0},
        {"network": "lite", "size": 128, "batch": 1, "median_ms": 1.0},
        {"network": "basicunet", "size": 64, "batch": 1, "median_ms": 70.0},
    ],
    **MADE,
}


def test_a_peer_trains_is_scored_and_not_repeated(xpnet, discs: Path, tmp_path: Path) -> None:
    folder = tmp_path / "peers"
    call = ("train", "peers", "--score", f"discs={discs}:val", "--output", folder,
            "--json", tmp_path / "report.json", f"data={discs}", "--only", "segresnet",
            "--only", "lite", *TINY)  # fmt: skip
    result = xpnet(*call)
    assert result.returncode == 0, result.stderr
    assert str(discs.parent) not in (tmp_path / "report.json").read_text()
    found = json.loads((folder / "peers.json").read_text())
    assert list(found["rows"]) == ["lite", "segresnet"]
    assert found["settings"]["epochs"] == 1
    assert "data" not in found["settings"]
    row = found["rows"]["segresnet"]
    assert f"| segresnet | {row['parameters']:,} | {row['scores']['discs']['dice']:.3f} (" in (
        result.stdout
    )
    weights = folder / "segresnet" / "weights.safetensors"
    network, card = load_network(weights)
    assert (card.network, card.name, card.data[1:]) == ("segresnet", "segresnet", ())
    assert sum(p.numel() for p in network.parameters()) == card.parameters
    # Without the weights of ImageNet, the card does not name them.
    assert len(read_card(folder / "lite" / "weights.json").data) == 1
    before = weights.stat().st_mtime_ns
    # The table of rows that were trained elsewhere still names that machine.
    for made in found["rows"].values():
        made["machine"] = "elsewhere"
    (folder / "peers.json").write_text(json.dumps(found))
    again = xpnet(*call)
    assert again.stdout.splitlines()[:-1] == result.stdout.splitlines()[:-1]
    assert "cores of elsewhere, " in again.stdout
    assert weights.stat().st_mtime_ns == before


def test_wrong_options_are_refused(xpnet, discs: Path, tmp_path: Path) -> None:
    call = ("train", "peers", "--score", f"discs={discs}:val", "--output", tmp_path,
            f"data={discs}")  # fmt: skip
    assert "--only 'x': no such row; known: unet; student" in one_line(xpnet(*call, "--only", "x"))
    wrong = xpnet(*call, "imagenet=true")
    assert "imagenet=true: not for all rows alike, expected --only" in one_line(wrong)


def test_table_has_each_row_and_the_budget() -> None:
    lines = as_markdown(ACCURACY).splitlines()
    assert lines[2] == "| lite, from ImageNet | 9 | 0.500 (0.400 to 0.600) | 1 |"
    budget = "1 epochs at 32 pixels, batch 4, loss `dv`, seed 1. "
    assert lines[-1] == f"{budget}2 cores of a machine, 2026-11-28."
    two = copy.deepcopy(ACCURACY)
    two["rows"]["basicunet"]["machine"] = "another"
    assert as_markdown(two).splitlines()[-1] == (
        f"{budget}`lite, from ImageNet`: 2 cores of a machine, 2026-11-28; "
        "`basicunet`: 2 cores of another, 2026-11-28."
    )
    assert [row.name for row in ROWS][:4] == ["unet", "student", "lite", "lite, from ImageNet"]


def test_plot_names_what_it_cannot_draw(tmp_path: Path) -> None:
    path = tmp_path / "plot.png"
    assert draw_tradeoff(ACCURACY, SPEED, "val", path) == []
    assert path.read_bytes().startswith(b"\x89PNG")
    speed = copy.deepcopy(SPEED)
    speed["rows"] = [row for row in speed["rows"] if row["network"] == "lite"]
    assert draw_tradeoff(ACCURACY, speed, "val", path) == ["basicunet"]


def test_time_is_the_shortest_of_a_single_frame_at_the_smallest_size() -> None:
    assert fastest_times(SPEED) == {"lite": 20.0, "basicunet": 70.0}


def test_plot_without_a_common_network_or_set_is_refused(xpnet, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"Dice on 'c6': expected one of the sets val, and"):
        draw_tradeoff(ACCURACY, SPEED, "c6", tmp_path / "plot.png")
    with pytest.raises(UserError, match="not a report of `xpnet bench network --json`"):
        draw_tradeoff(ACCURACY, {"rows": [{}]}, "val", tmp_path / "plot.png")
    bad = tmp_path / "bad.json"
    bad.write_text("{")
    result = xpnet("evaluate", "tradeoff", "--accuracy", bad, "--speed", bad, "--set", "val",
                   "--output", tmp_path / "plot.png")  # fmt: skip
    assert f"{bad}: not a report of `xpnet train peers`" in one_line(result)
    assert not (tmp_path / "plot.png").exists()
