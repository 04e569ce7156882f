"""The README's figures are those of the card, and its files are there."""

from __future__ import annotations

import re

from tests.conftest import ROOT
from xpnet.card import read_card

README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_scores_are_the_cards() -> None:
    card = read_card(ROOT / "triton_models" / "xpnet_onnx" / "card.json")
    rows = re.findall(r"^\| `([a-z0-9-]+)` \|(.*)\|$", README, re.MULTILINE)
    assert {name for name, _ in rows} == set(card.scores)
    for name, cells in rows:
        frames, *values = [c.strip() for c in cells.split("|")]
        score = card.scores[name]
        assert int(frames) == score["frames"]
        columns = ("dice", "iou", "miou", "dice_total", "precision", "recall")
        assert values == [f"{score[c]:.3f}" for c in columns]


def test_linked_files_exist() -> None:
    links = re.findall(r"\]\(((?!https?:)[^)#]+)\)", README)
    assert len(links) > 5
    for link in links:
        assert (ROOT / link).exists(), link
