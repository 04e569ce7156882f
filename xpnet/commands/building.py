"""`xpnet build`: from ONNX to the engine of a target."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def add_build(commands: Any) -> None:
    """The options of `xpnet build`."""
    p = commands.add_parser("build", help="ONNX to a TensorRT-RTX engine, without a GPU")
    p.add_argument("onnx", type=Path, help="file of `xpnet export --output`, of any precision")
    p.add_argument("--target", choices=("rtx",), required=True, help="rtx: TensorRT-RTX")
    p.add_argument(
        "--ahead-of-time",
        action="store_true",
        required=True,
        help="for a named architecture, on a machine that need not have it",
    )
    p.add_argument(
        "--sm", type=int, required=True, help="compute capability times ten: 75, 80, 86, 89 or 120"
    )
    p.add_argument("--output", type=Path, required=True, help="engine; its summary goes beside it")
    p.set_defaults(command=build)


def build(args: argparse.Namespace) -> int:
    """`xpnet build`."""
    from xpnet.engines.rtx import build_ahead_of_time

    made = build_ahead_of_time(args.onnx, args.output, args.sm)
    convolutions = ", ".join(f"{n} {kind}" for kind, n in made["convolutions"].items())
    print(
        f"{args.output}: TensorRT-RTX {made['tensorrt_rtx']}, {made['architecture']}, "
        f"{made['engine_bytes'] / (1 << 20):.1f} MiB; convolutions: {convolutions}"
    )
    return 0
