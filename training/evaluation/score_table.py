"""`xpnet evaluate table`: the paper's Table 1 beside the scores in model cards."""

from __future__ import annotations

from typing import Any

from xpnet.card import Card
from xpnet.errors import UserError

PAPER = {
    # Table 1 of the paper: Dice and IoU on its EndoCV data and on Kvasir-SEG.
    "teacher1": (0.893, 0.889, 0.812, 0.809),
    "teacher2": (0.871, 0.884, 0.803, 0.798),
    "student": (0.839, 0.805, 0.783, 0.769),
    "unet": (0.841, 0.812, 0.798, 0.784),
}
TITLES = {
    "teacher1": "teacher 1 (U-Net + EPSA)",
    "teacher2": "teacher 2 (the same, pix2pix)",
    "teacher3": "teacher 3 (U-Net on Lite2)",
    "unet": "U-Net",
    "student": "`xpnet`, the paper's student",
    "student alone": "`xpnet`, without teachers",
    "lite": "`xpnet_lite`",
    "lite alone": "`xpnet_lite`, without teachers",
}
SETS = {
    "polypgen-val": "PolypGen val",
    "polypgen-c6": "PolypGen C6",
    "kvasir-seg": "Kvasir-SEG",
    "kvasir-medico-val": "Kvasir-SEG, 120 frames",
    "cvc-clinicdb": "CVC-ClinicDB",
    "endotect": "EndoTect",
    "polypgen-negative": "PolypGen, sequences without polyps 14 to 23",
}
METRICS = ("dice", "iou", "miou", "dice_total", "precision", "recall", "false_alarm")


def row_name(card: Card) -> str:
    """Return the row of a card: teachers 1 and 2 have the same network.

    A student trained without teachers has a row of its own.
    """
    if card.network == "teacher":
        return "teacher2" if "l1" in card.training.get("settings", {}) else "teacher1"
    if card.network in ("student", "lite") and not card.training.get("teachers"):
        return f"{card.network} alone"
    return card.network


def as_json(cards: list[Card]) -> dict[str, Any]:
    """Return every metric of every card and set with its interval, and the paper's values."""
    keys = ("endocv_dice", "endocv_iou", "kvasir_dice", "kvasir_iou")
    return {
        "paper": {name: dict(zip(keys, row, strict=True)) for name, row in PAPER.items()},
        "ours": {
            row_name(card): {
                "parameters": card.parameters,
                "threshold": card.threshold,
                "peak": card.peak,
                "scores": card.scores,
            }
            for card in _ordered(cards)
        },
    }


def as_markdown(cards: list[Card]) -> str:
    """Return Dice and IoU as in the paper, then every metric of each set with 95 % intervals."""
    lines = ["Dice / IoU of the polyp", "", *short_table(cards)]
    for name in _sets(cards):
        lines += ["", f"{SETS.get(name, name)}, with 95 % intervals", ""]
        scored = [card for card in _ordered(cards) if name in card.scores]
        if any(has_polyps(card.scores[name]) for card in scored):
            head = ["network", *METRICS, "polyps found", "false positives per frame"]
            lines += _table(head, [_all_metrics(card, name) for card in scored])
        else:
            head = ["network", "frames that are marked", "share", "false positives per frame"]
            lines += _table(head, [_marks(card, name) for card in scored])
    return "\n".join(lines) + "\n"


def short_table(cards: list[Card]) -> list[str]:
    """Return the lines of the first table: one row for each network, with the paper's values."""
    names = [
        name
        for name in _sets(cards)
        if any(has_polyps(card.scores[name]) for card in cards if name in card.scores)
    ]
    rows = []
    for card in _ordered(cards):
        paper = PAPER.get(row_name(card))
        cells = [TITLES[row_name(card)]]
        cells += [_pair(*paper[:2]), _pair(*paper[2:])] if paper else ["", ""]
        for name in names:
            score = card.scores.get(name)
            cells.append(_pair(score["dice"], score["iou"]) if score else "")
        rows.append(cells)
    head = ["network", "paper: EndoCV", "paper: Kvasir-SEG", *(SETS.get(n, n) for n in names)]
    return _table(head, rows)


def has_polyps(score: dict[str, Any]) -> bool:
    """Return whether a scored set has a polyp; without any, Dice and recall say nothing."""
    return score.get("recall_frames", 1) > 0


def _marks(card: Card, name: str) -> list[str]:
    """Return the row of a card for a set without polyps."""
    score = card.scores[name]
    share, (low, high) = score["false_alarm"], score["intervals"]["false_alarm"]
    return [
        TITLES[row_name(card)],
        f"{round(share * score['frames'])} of {score['frames']}",
        f"{share:.3f} ({low:.3f}-{high:.3f})",
        f"{score['polyps']['all']['false_areas']:.2f}",
    ]


def _all_metrics(card: Card, name: str) -> list[str]:
    score = card.scores[name]
    cells = [TITLES[row_name(card)]]
    for metric in METRICS:
        value, bounds = score.get(metric), score.get("intervals", {}).get(metric)
        text = "" if value is None else f"{value:.3f}"
        cells.append(f"{text} ({bounds[0]:.3f}-{bounds[1]:.3f})" if text and bounds else text)
    found = score.get("polyps", {}).get("all")
    cells += (
        [f"{found['found']} of {found['polyps']}", f"{found['false_areas']:.2f}"]
        if found
        else [
            "",
            "",
        ]
    )
    return cells


def _sets(cards: list[Card]) -> list[str]:
    scored = dict.fromkeys(name for card in cards for name in card.scores)
    return [*(name for name in SETS if name in scored), *(n for n in scored if n not in SETS)]


def _ordered(cards: list[Card]) -> list[Card]:
    names = [row_name(card) for card in cards]
    for name in names:
        if name not in TITLES:
            raise UserError(f"card of {name}: the table knows {', '.join(TITLES)}")
        if names.count(name) > 1:
            raise UserError(f"two cards of {TITLES[name]}: the table has one row for it")
    order = list(TITLES)
    return sorted(cards, key=lambda card: order.index(row_name(card)))


def _pair(dice: float, iou: float) -> str:
    return f"{dice:.3f} / {iou:.3f}"


def _table(head: list[str], rows: list[list[str]]) -> list[str]:
    lines = [head, ["---"] * len(head), *rows]
    return [f"| {' | '.join(line)} |" for line in lines]
