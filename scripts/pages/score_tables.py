"""Tables of scores from the cards of the model repository, and from docs/data/as-video."""

from __future__ import annotations

import json
from typing import Any

from scripts.pages.markdown import table
from training.evaluation.lesions import SIZES
from training.evaluation.score_table import SETS, has_polyps
from training.evaluation.scoring import PEAKS
from xpnet.card import Card, read_model_card
from xpnet.paths import MODEL_REPOSITORY, ROOT

MODELS = ("xpnet_lite_onnx", "xpnet_onnx")
AS_VIDEO = ROOT / "docs" / "data" / "as-video"
"""Files of `xpnet evaluate --as-video --json`, with the names of the data sets in the cards."""
BY_PEAK = ROOT / "docs" / "data" / "peaks"
"""Files of `xpnet evaluate --peaks --json` for the first model, with the same names."""
SHOWN_FROM = 0.7
"""Lowest peak in the table of peaks; lower ones differ little from none."""


def model_cards() -> list[Card]:
    """Return the cards of the models that the page describes."""
    return [read_model_card(MODEL_REPOSITORY, name) for name in MODELS]


def facts() -> list[str]:
    """Return the table of what each model is."""
    cards = model_cards()
    rows: list[tuple[str, ...]] = [
        ("network", *(f"`{card.network}`" for card in cards)),
        ("parameters", *(f"{card.parameters:,}" for card in cards)),
        ("input", *(_tensor(card) for card in cards)),
        ("threshold", *(f"{card.threshold:g}" for card in cards)),
        ("peak", *(f"{card.peak:g}" if card.peak else "none" for card in cards)),
        ("trained on", *("; ".join(_data(card)) for card in cards)),
        ("training ended", *(str(card.training["date"]) for card in cards)),
        ("machine", *(str(card.training["machine"]) for card in cards)),
        ("commit of the code", *(f"`{card.git_commit[:12]}`" for card in cards)),
        ("licence of the weights", *(card.licence for card in cards)),
    ]
    return table(("", *(f"`{card.name}`" for card in cards)), rows)


def _tensor(card: Card) -> str:
    return f"{card.input.height} x {card.input.width} pixels, RGB, float32, 0 to 1"


def _data(card: Card) -> list[str]:
    return [f"{data.name}, {data.split}, {data.frames:,} frames ({data.licence})"
            for data in card.data]  # fmt: skip


def by_data_set() -> list[str]:
    """Return the table of the scores on each data set."""
    rows = []
    for card in model_cards():
        for name, score in card.scores.items():
            polyps, false = score["polyps"]["all"], score["false_alarm"]
            of_polyps = ("", "", "")
            if has_polyps(score):
                found = f"{polyps['found']} of {polyps['polyps']}"
                of_polyps = _dice(score), f"{score['iou']:.3f}", found
            rows.append((
                f"`{card.name}`", SETS[name], f"{score['frames']:,}", *of_polyps,
                f"{polyps['false_areas']:.2f}", _marked(false, score["false_alarm_frames"]),
            ))  # fmt: skip
    head = ("model", "data set", "frames", "Dice (95 % interval)", "IoU", "polyps found",
            "false positives per frame", "frames without a polyp that are marked")  # fmt: skip
    return table(head, rows)


def _marked(share: float | None, frames: int) -> str:
    return "" if share is None else f"{round(share * frames)} of {frames}"


def by_centre() -> list[str]:
    """Return the table of the scores of each centre of PolypGen."""
    rows = []
    for card in model_cards():
        for score in card.scores.values():
            rows += [
                (f"`{card.name}`", centre, str(row["frames"]), f"{row['dice']:.3f}",
                 f"{row['found']} of {row['polyps']}", f"{row['false_areas']:.2f}")
                for centre, row in score["by_centre"].items()
            ]  # fmt: skip
    head = ("model", "centre", "frames", "Dice", "polyps found", "false positives per frame")
    return table(head, rows)


def by_size() -> list[str]:
    """Return the table of the polyps found, by their size and the data set."""
    rows = [
        (f"`{card.name}`", SETS[name], *(_found(score["polyps"][size]) for size in SIZES))
        for card in model_cards()
        for name, score in card.scores.items()
        if has_polyps(score)
    ]
    return table(("model", "data set", *SIZES), rows)


def _found(row: dict[str, Any]) -> str:
    share = "" if row["sensitivity"] is None else f" ({row['sensitivity']:.0%})"
    return f"{row['found']} of {row['polyps']}{share}"


def as_video() -> list[str]:
    """Return the table of the first model's scores on frames, and on the same frames as video."""
    card = model_cards()[0]
    rows = []
    for name, frames in card.scores.items():
        path = AS_VIDEO / f"{name}.json"
        if not path.is_file():
            continue
        video = json.loads(path.read_text(encoding="utf-8"))
        rows.append(
            (SETS[name], str(video["frames"]),
             *(_dice(score) for score in (frames, video)),
             *(_found(score["polyps"]["all"]) for score in (frames, video)),
             *(f"{score['polyps']['all']['false_areas']:.2f}" for score in (frames, video)))
        )  # fmt: skip
    head = ("data set", "frames", "Dice", "as video", "polyps found", "as video",
            "false positives per frame", "as video")  # fmt: skip
    return table(head, rows)


def peaks() -> list[str]:
    """Return the table of what each peak finds and marks wrongly, for each data set."""
    files = {name: BY_PEAK / f"{name}.json" for name in SETS}
    scores = {name: json.loads(path.read_text(encoding="utf-8"))
              for name, path in files.items() if path.is_file()}  # fmt: skip
    columns = [
        *((f"{SETS[name]}: polyps found of {score['polyps']['all']['polyps']:,}", name, "found")
          for name, score in scores.items() if has_polyps(score)),
        *((f"{SETS[name]}: marked of {score['false_alarm_frames']} frames without a polyp", name,
           "empty_marked") for name, score in scores.items() if score["false_alarm_frames"]),
    ]  # fmt: skip
    rows = [
        (f"{peak:g}" if peak else "none",
         *(str(scores[name]["by_peak"][number][key]) for _, name, key in columns))
        for number, peak in enumerate(PEAKS)
        if peak == 0 or peak >= SHOWN_FROM
    ]  # fmt: skip
    return table(["peak", *(title for title, _, _ in columns)], rows)


def _dice(score: dict[str, Any]) -> str:
    low, high = score["intervals"]["dice"]
    return f"{score['dice']:.3f} ({low:.3f} to {high:.3f})"
