"""`xpnet export` and `tune`: from weights to ONNX, in the form and precision of the target."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from xpnet.commands.options import TRAIN_HINT, add_frames, add_repository
from xpnet.errors import UserError, require
from xpnet.files import check_writable


def add_export(commands: Any) -> None:
    """The options of `xpnet export`."""
    p = commands.add_parser("export", help="weights to ONNX and into the model repository")
    p.add_argument("weights", type=Path, help="safetensors file with its card beside it")
    p.add_argument("--output", type=Path, help="write this ONNX file only, no repository")
    p.add_argument("--size", type=int, help="height and width in pixels (default: the card's)")
    p.add_argument(
        "--plan-size",
        type=int,
        help="height and width of the TensorRT plan (default: as the ONNX model)",
    )
    p.add_argument(
        "--precision",
        default="fp32",
        help="fp32, fp16, int8 (for TensorRT) or uint8 (for a CPU); other than fp32 with --output",
    )
    p.add_argument(
        "--calibration",
        type=Path,
        metavar="DIR",
        help="data set whose train frames INT8 is calibrated on (default: frames of --frames)",
    )
    p.add_argument(
        "--score",
        action="append",
        default=[],
        metavar="NAME=DIR[:SPLIT]",
        help="score it and FP32 on this set, for the report; may be repeated",
    )
    add_repository(p)
    p.add_argument("--forms", type=Path, help="file of `xpnet tune`: the form of each part")
    add_frames(p)
    p.set_defaults(command=export)


def add_tune(commands: Any) -> None:
    """The options of `xpnet tune`."""
    p = commands.add_parser("tune", help="measure the forms of a network's parts on this machine")
    p.add_argument("weights", type=Path, help="safetensors file with its card beside it")
    p.add_argument("--size", type=int, help="height and width in pixels (default: the card's)")
    p.add_argument("--output", type=Path, required=True, help="JSON file for `export --forms`")
    add_frames(p)
    p.set_defaults(command=tune)


def export(args: argparse.Namespace) -> int:
    """`xpnet export`."""
    try:
        from training.export import export_onnx, export_repository, sample_frames
        from training.tune import read_forms
        from training.weights import load_network
    except ImportError as error:
        raise require(str(error.name), "export", TRAIN_HINT) from error
    if args.precision != "fp32":
        return _export_precision(args)
    if args.calibration or args.score:
        raise UserError("--calibration and --score belong to --precision fp16, int8 or uint8")
    network, card = load_network(args.weights)
    if args.size is not None:
        card = card.at_size(args.size, args.size)
    frames = sample_frames(args.frames)
    forms = read_forms(args.forms) if args.forms else None
    if args.output:
        difference = export_onnx(network, card, frames, args.output, forms)
        print(f"{args.output}: largest difference from torch {difference:.1e}")
    else:
        plan_size = card.input.height if args.plan_size is None else args.plan_size
        difference = export_repository(network, card, frames, args.repository, plan_size, forms)
        print(f"{args.repository}: largest difference from torch {difference:.1e}")
    return 0


def _export_precision(args: argparse.Namespace) -> int:
    """FP32 first, checked against torch, then the precision made from it and scored."""
    if not args.output:
        raise UserError(f"--precision {args.precision}: give --output FILE")
    try:
        from training.precise_export import convert_weights
        from training.scored_sets import parse_set
    except ImportError as error:
        raise require(str(error.name), "export", TRAIN_HINT) from error
    report = convert_weights(
        args.weights,
        args.output,
        precision=args.precision,
        size=args.size,
        forms=args.forms,
        clip=args.frames,
        calibration=args.calibration,
        sets=[parse_set(word) for word in args.score],
    )
    print("\n".join([f"{args.output}: {args.precision}", *report]))
    return 0


def tune(args: argparse.Namespace) -> int:
    """`xpnet tune`."""
    try:
        from training.export import sample_frames
        from training.tune import as_lines, write_forms
        from training.tune import tune as measure
        from training.weights import load_network
    except ImportError as error:
        raise require(str(error.name), "tuning", TRAIN_HINT) from error
    check_writable(args.output)
    network, card = load_network(args.weights)
    if args.size is not None:
        card = card.at_size(args.size, args.size)
    found = measure(network, sample_frames(args.frames, 1)[0], card)
    write_forms(found, args.output)
    print("\n".join(as_lines(found)))
    return 0
