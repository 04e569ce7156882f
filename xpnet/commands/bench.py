"""`xpnet bench`: what a machine reaches, and what it could."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from xpnet.commands.options import TRAIN_HINT
from xpnet.errors import UserError, require
from xpnet.files import check_writable, write_text


def add_bench(commands: Any) -> None:
    """The options of `xpnet bench`."""
    p = commands.add_parser("bench", help="what a machine reaches, and what it could")
    kinds = p.add_subparsers(required=True, metavar="KIND")
    roof = kinds.add_parser(
        "roofline", help="least time a frame by arithmetic and memory, counted, for known devices"
    )
    roof.add_argument("--size", type=int, default=512, help="height and width in pixels")
    roof.add_argument("--json", type=Path, metavar="FILE", help="write all rows as JSON")
    roof.add_argument("--plot", type=Path, metavar="FILE", help="draw it: .png, .svg or .pdf")
    roof.set_defaults(command=roofline)


def roofline(args: argparse.Namespace) -> int:
    """`xpnet bench roofline`."""
    try:
        from training.roofline import as_lines, draw
        from training.roofline import roofline as count
    except ImportError as error:
        raise require(str(error.name), "the roofline", TRAIN_HINT) from error
    for path in (args.json, args.plot):
        if path:
            check_writable(path)
    try:
        found = count(args.size)
    except ValueError as error:
        raise UserError(f"--size {args.size}: {error}") from error
    print("\n".join(as_lines(found)))
    if args.json:
        write_text(args.json, json.dumps(found, indent=2) + "\n")
    if args.plot:
        draw(found, args.plot)
    return 0
