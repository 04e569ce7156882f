"""`xpnet evaluate`, `table` and `panel`: how good a model is."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from xpnet.commands.options import add_repository
from xpnet.errors import UserError
from xpnet.files import check_writable, write_text
from xpnet.triton.server import REPOSITORY


def add_evaluate(commands: Any) -> None:
    """The options of `xpnet evaluate`."""
    p = commands.add_parser("evaluate", help="score a model on frames with masks")
    p.add_argument("--images", type=Path, required=True, help="folder of frames")
    p.add_argument("--masks", type=Path, required=True, help="folder of masks, paired by stem")
    p.add_argument("--index", type=Path, help="CSV with the columns stem and split")
    p.add_argument("--split", help="score this split of the index only")
    p.add_argument(
        "--onnx",
        type=Path,
        default=REPOSITORY / "xpnet_onnx" / "1" / "model.onnx",
        help="model to run in this process (default: the one that is served)",
    )
    p.add_argument(
        "--url",
        default="",
        metavar="HOST:PORT",
        help="score the model that a running Triton serves, instead",
    )
    p.add_argument("--model", default="xpnet_onnx", help="name of the served model")
    add_repository(p)
    p.add_argument("--json", type=Path, metavar="FILE", help="write the scores as JSON")
    p.add_argument("--card", type=Path, help="record the scores in this card, under --name")
    p.add_argument("--name", help="name of the data set in the card")
    p.set_defaults(command=evaluate)


def evaluate(args: argparse.Namespace) -> int:
    """`xpnet evaluate`."""
    from training.evaluation import as_lines, check_same_weights, record
    from training.evaluation import evaluate as score
    from training.pairs import find_pairs
    from xpnet.card import read_card
    from xpnet.inference import OnnxInference
    from xpnet.triton.client import TritonInference

    if bool(args.card) != bool(args.name):
        raise UserError("--card and --name go together")
    if args.split and not args.index:
        raise UserError("--split needs --index")
    if args.json:
        check_writable(args.json)
    pairing = find_pairs(args.images, args.masks, args.index, args.split)
    if args.url:
        card = read_card(args.repository / args.model / "card.json")
        inference: Any = TritonInference(args.url, args.model, card)
    else:
        inference = OnnxInference(args.onnx)
    try:
        if args.card:
            check_same_weights(inference.card, args.card)
        scores = score(inference, pairing)
    finally:
        inference.close()
    print("\n".join(as_lines(scores)))
    if args.json:
        write_text(args.json, json.dumps(scores, indent=2) + "\n")
    if args.card:
        record(scores, args.card, args.name)
    return 0
