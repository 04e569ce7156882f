"""`xpnet build`: from ONNX to the engine of a target."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from xpnet.commands.options import add_command, add_frames, add_repository
from xpnet.errors import NotInstalled, UserError
from xpnet.files import check_distinct
from xpnet.paths import plan_path
from xpnet.platforms import TARGETS


def add_build(commands: Any) -> None:
    """Add `xpnet build`."""
    p = add_command(
        commands,
        "build",
        "build a TensorRT plan for this GPU, or a TensorRT-RTX engine for another one",
        "xpnet build --target rtx --model xpnet_lite",
        build,
    )
    p.add_argument(
        "onnx",
        type=Path,
        nargs="*",
        help="files of `xpnet export`; the fastest is kept (default: the model's own)",
    )
    p.add_argument(
        "--target",
        choices=tuple(TARGETS),
        required=True,
        help="rtx: a PC with an NVIDIA GPU; jetson: a Jetson with JetPack",
    )
    p.add_argument("--model", help="model of the repository to build the plan of")
    p.add_argument(
        "--precision",
        nargs="+",
        default=["fp16"],
        help="precision of the model's own graphs: fp32, fp16, int8; the fastest is kept "
        "(default: fp16)",
    )
    p.add_argument(
        "--dla", type=int, metavar="CORE", help="build for a DLA of a Jetson Orin: 0 or 1"
    )
    p.add_argument(
        "--timing-cache",
        type=Path,
        help="timing cache, which makes a second build fast (default: in the repository)",
    )
    p.add_argument(
        "--if-needed",
        action="store_true",
        help="skip the build if the existing plan was built for this GPU and TensorRT",
    )
    p.add_argument(
        "--ahead-of-time",
        action="store_true",
        help="build a TensorRT-RTX engine for --sm; needs no such GPU",
    )
    p.add_argument("--sm", type=int, help="compute capability times ten: 75, 80, 86, 89 or 120")
    p.add_argument("--output", type=Path, help="engine to write; its summary is written beside it")
    p.add_argument(
        "--score",
        action="append",
        default=[],
        metavar="NAME=DIR[:SPLIT]",
        help="score the plan on this set and record it in the card; may be repeated",
    )
    add_repository(p)
    add_frames(p)


def build(args: argparse.Namespace) -> int:
    """Run `xpnet build`."""
    return _ahead_of_time(args) if args.ahead_of_time else _plan(args)


def _ahead_of_time(args: argparse.Namespace) -> int:
    from xpnet.tensorrt.rtx_engine import build_ahead_of_time

    if args.target != "rtx" or args.sm is None or args.output is None or len(args.onnx) != 1:
        raise UserError("--ahead-of-time: give one ONNX file, --target rtx, --sm and --output")
    check_distinct((args.output,), args.onnx)
    made = build_ahead_of_time(args.onnx[0], args.output, args.sm)
    convolutions = ", ".join(f"{n} {kind}" for kind, n in made["convolutions"].items())
    print(
        f"{args.output}: TensorRT-RTX {made['tensorrt_rtx']}, {made['architecture']}, "
        f"{made['engine_bytes'] / (1 << 20):.1f} MiB; convolutions: {convolutions}"
    )
    return 0


def _plan(args: argparse.Namespace) -> int:
    from xpnet.tensorrt.plan_builder import PlanSettings, build_plan

    if args.model is None or args.sm is not None or args.output is not None:
        raise UserError(
            "a plan is written to the repository: give --model, and no --sm or --output"
        )
    scores = _scores(args.score)
    card = build_plan(
        PlanSettings(
            target=args.target,
            model=args.model,
            frames=args.frames,
            onnx=tuple(args.onnx),
            precisions=tuple(args.precision),
            dla=args.dla,
            timing_cache=args.timing_cache,
            repository=args.repository,
            if_needed=args.if_needed,
        )
    )
    made, plan = card.graph, plan_path(args.repository / args.model)
    print(
        f"{plan}: TensorRT {made['tensorrt']}, "
        f"{made['gpu']}, {made['precision']}, {made['median_ms']:g} ms a frame; masks agree with "
        f"ONNX Runtime's by Dice {made['plan']['agreement']:.4f}"
    )
    for score in scores:
        print(score(plan))
    return 0


def _scores(words: list[str]) -> list[Callable[[Path], str]]:
    """For each data set what scores a plan on it into its card; a bad name is refused at once."""
    if not words:
        return []
    from training.data.readers import read_data_set
    from training.evaluation.scored_sets import parse_set, score
    from training.evaluation.scoring import record_scores
    from xpnet.tensorrt.engine_inference import EngineInference
    from xpnet.tensorrt.python_api import PythonApi

    try:
        PythonApi()
    except NotInstalled as error:
        raise UserError(f"--score takes TensorRT's Python module, not trtexec: {error}") from error

    def scorer(word: str) -> Callable[[Path], str]:
        wanted = parse_set(word)
        source = read_data_set(wanted.folder)

        def run(plan: Path) -> str:
            found = score(EngineInference(plan), source, wanted.split)
            record_scores(found, plan.with_name("card.json"), wanted.name)
            return f"{wanted.name}: Dice {found['dice']:.4f}, IoU {found['iou']:.4f}"

        return run

    return [scorer(word) for word in words]
