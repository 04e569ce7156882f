"""`xpnet bench`: what a machine reaches, and what it could."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from xpnet.commands.options import TRAIN_HINT, add_frames, add_repository
from xpnet.errors import UserError, require
from xpnet.files import check_writable, write_text
from xpnet.triton.server import ROOT


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
    net = kinds.add_parser("network", help="every network in every runtime of this CPU, timed")
    net.add_argument("--sizes", type=int, nargs="+", default=[512], help="pixels (default: 512)")
    net.add_argument(
        "--networks",
        nargs="+",
        default=["unet", "teacher", "student", "lite"],
        help="(default: %(default)s)",
    )
    net.add_argument(
        "--runtimes",
        nargs="+",
        default=["onnxruntime", "openvino", "torch.compile"],
        help="torch.compile takes minutes to compile (default: %(default)s)",
    )
    net.add_argument("--rounds", type=int, default=15, help="(default: %(default)s)")
    net.add_argument(
        "--forms",
        action="append",
        default=[],
        metavar="NETWORK=FILE",
        help="file of `xpnet tune`: time that form of the network, too",
    )
    net.add_argument("--json", type=Path, metavar="FILE", help="write all rows as JSON")
    add_repository(net)
    add_frames(net)
    net.set_defaults(command=network)


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


def network(args: argparse.Namespace) -> int:
    """`xpnet bench network`."""
    try:
        from training.bench_network import as_markdown, bench_network
        from training.deploy import read_forms
        from training.settings import parse_overrides
        from xpnet.images import sample_frames
    except ImportError as error:
        raise require(str(error.name), "timing networks", TRAIN_HINT) from error
    if args.rounds < 1:
        raise UserError(f"--rounds {args.rounds}: expected at least 1")
    if args.json:
        check_writable(args.json)
    named = parse_overrides(args.forms)
    found = bench_network(
        args.networks,
        args.sizes,
        args.rounds,
        sample_frames(args.frames, 4),  # scales of INT8 hardly matter to its speed
        ROOT / "training" / "weights",
        args.repository,
        {name: read_forms(Path(path)) for name, path in named.items()},
        args.runtimes,
    )
    print(as_markdown(found), end="")
    if args.json:
        write_text(args.json, json.dumps(found, indent=2) + "\n")
    return 0
