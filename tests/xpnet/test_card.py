from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from xpnet.card import Card, DataSource, new_card, parse_card, read_card
from xpnet.errors import UserError


@pytest.fixture
def card() -> Card:
    data = (DataSource("PolypGen", "train", 10, "CC BY 4.0", "doi"),)
    return new_card("xpnet", "student", 7, 256, licence="Apache-2.0", data=data, git_commit="a1")


def test_card_is_equal_after_writing_and_reading(card: Card, tmp_path: Path) -> None:
    scored = replace(card, scores={"c6": {"dice": 0.5}})
    scored.write(tmp_path / "card.json")
    assert read_card(tmp_path / "card.json") == scored


def test_fingerprint_changes_with_what_decides_a_mask_and_not_with_scores(card: Card) -> None:
    assert replace(card, scores={"c6": {"dice": 0.5}}).fingerprint() == card.fingerprint()
    for other in (replace(card, peak=0.7), replace(card, threshold=0.4), card.at_size(512, 512)):
        assert other.fingerprint() != card.fingerprint()


def test_at_size_changes_input_and_output(card: Card) -> None:
    other = card.at_size(512, 384)
    assert other.input.shape == (-1, 3, 512, 384)
    assert other.output.shape == (-1, 1, 512, 384)
    assert (other.input.height, other.input.width) == (512, 384)
    assert other.input.colours == "RGB"


def test_contradicting_sizes_are_refused(card: Card) -> None:
    with pytest.raises(
        UserError, match=r"output \(-1, 1, 256, 256\), expected \(-1, 1, 512, 512\)"
    ):
        replace(card, input=replace(card.input, shape=(-1, 3, 512, 512)))


@pytest.mark.parametrize("threshold", [0.0, 1.0, -0.5])
def test_threshold_outside_its_range_is_refused(card: Card, threshold: float) -> None:
    with pytest.raises(UserError, match="threshold"):
        replace(card, threshold=threshold)


def test_peak_is_kept_and_cards_without_one_have_no_such_rule(card: Card, tmp_path: Path) -> None:
    assert card.peak == 0
    replace(card, peak=0.75).write(tmp_path / "card.json")
    assert read_card(tmp_path / "card.json").peak == 0.75
    raw = json.loads((tmp_path / "card.json").read_text())
    del raw["peak"]
    assert parse_card(json.dumps(raw), "old") == card


@pytest.mark.parametrize("peak", [-0.1, 1.0, float("nan")])
def test_peak_outside_its_range_is_refused(card: Card, peak: float) -> None:
    with pytest.raises(UserError, match=r"peak .*, expected at least 0 and below 1"):
        replace(card, peak=peak)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"name": "x"}', "null"])
def test_invalid_card_is_reported(text: str) -> None:
    with pytest.raises(UserError, match=r"^some\.json: not a model card of XP-Net"):
        parse_card(text, "some.json")


def test_unknown_field_is_refused(card: Card) -> None:
    raw = json.loads(card.to_json()) | {"tresholds": 0.4}
    with pytest.raises(UserError, match="tresholds"):
        parse_card(json.dumps(raw), "x")


def test_missing_file_is_reported(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere\.json: model card cannot be read"):
        read_card(tmp_path / "nowhere.json")


@pytest.mark.parametrize(
    "change", [{"value_range": (-1.0, 1.0)}, {"colours": "BGR"}, {"layout": "NHWC"}]
)
def test_card_with_other_preprocessing_is_refused(card: Card, change: dict) -> None:
    with pytest.raises(UserError, match="expected float32, NCHW, 0 to 1, 'RGB'"):
        replace(card, input=replace(card.input, **change))
