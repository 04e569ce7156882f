"""`xpnet distill`: train a student on frames with masks and on its teachers."""

from __future__ import annotations

import argparse
from typing import Any

from xpnet.commands.options import add_command
from xpnet.commands.train import add_settings, start_training

MODELS = ("xpnet", "xpnet_lite")


def add_distill(commands: Any) -> None:
    """Add `xpnet distill`."""
    p = add_command(
        commands,
        "distill",
        "train a student on frames with masks and on its teachers",
        "xpnet distill --model xpnet data=DIR --teacher training/weights/teacher3.safetensors",
        distill,
    )
    p.add_argument("--model", choices=MODELS, default="xpnet", help="the student to train")
    p.add_argument(
        "--teacher",
        action="append",
        default=[],
        metavar="WEIGHTS",
        help="safetensors file with its card beside it; once for each, in their order",
    )
    add_settings(p)


def distill(args: argparse.Namespace) -> int:
    """Run `xpnet distill`."""
    given = {"teachers": args.teacher} if args.teacher else {}
    return start_training(args, f"distill_{args.model}", given)
