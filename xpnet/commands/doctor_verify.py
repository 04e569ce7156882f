"""`xpnet verify-target`: what the documents claim, checked on this machine."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from xpnet.commands.options import add_repository
from xpnet.errors import UserError
from xpnet.files import check_writable
from xpnet.paths import ROOT


def add_verify_target(commands: Any) -> None:
    """The options of `xpnet verify-target`."""
    p = commands.add_parser(
        "verify-target", help="check what the documents claim on this machine, and report it"
    )
    p.add_argument(
        "--output",
        type=Path,
        default=ROOT / "build" / "verify-target.md",
        metavar="FILE.md",
        help="the report; the same as JSON goes beside it (default: build/verify-target.md)",
    )
    p.add_argument("--only", nargs="+", default=[], metavar="ID", help="check these claims only")
    p.add_argument("--list", action="store_true", help="show the claims and check none")
    p.add_argument(
        "--store-masks",
        action="store_true",
        help="compute the stored masks anew, after new weights, and check nothing",
    )
    add_repository(p)
    p.set_defaults(command=verify_target)


def verify_target(args: argparse.Namespace) -> int:
    """`xpnet verify-target`: 1 where a claim did not hold."""
    from xpnet.diagnostics.claims import CLAIMS
    from xpnet.diagnostics.reference_masks import store
    from xpnet.diagnostics.verification import verify
    from xpnet.diagnostics.verification_report import BROKEN, write_report

    if args.list:
        for claim in CLAIMS:
            print(f"{claim.id:<22}{claim.sentence} ({claim.where})")
        return 0
    if args.store_masks:
        models = sorted(p.parents[1].name for p in args.repository.glob("*/1/model.onnx"))
        if not models:
            raise UserError(f"{args.repository}: holds no ONNX model whose masks could be stored")
        for path in store(args.repository, tuple(models)):
            print(path)
        return 0
    if args.output.suffix != ".md":
        raise UserError(f"{args.output}: expected a name that ends in .md")
    if args.output.parent == ROOT / "build":
        args.output.parent.mkdir(exist_ok=True)
    check_writable(args.output)
    found = verify(args.repository, tuple(args.only))
    write_report(found, args.output)
    for claim in found["claims"]:
        print(f"{claim['state']:<10}{claim['id']:<22}{claim['found']}")
    print(f"report: {args.output}")
    return 1 if any(claim["state"] == BROKEN for claim in found["claims"]) else 0
