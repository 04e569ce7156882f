"""`xpnet train`, `distill`, `ablation`, `data` and `pack`: from frames to weights."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from xpnet.commands.options import TRAIN_HINT
from xpnet.errors import first_process, require
from xpnet.files import check_distinct, check_writable, write_text
from xpnet.paths import ROOT

JOBS = ("teacher1", "teacher2", "teacher3", "unet", "student", "lite")
MODELS = ("xpnet", "xpnet_lite")


def add_data(commands: Any) -> None:
    """The options of `xpnet data`."""
    p = commands.add_parser("data", help="look at a data set before training on it")
    actions = p.add_subparsers(required=True, metavar="ACTION")
    check = actions.add_parser(
        "check", help="sizes, empty masks, broken files, duplicates, leaks between splits"
    )
    check.add_argument("folder", type=Path, help="a data set in one of the known layouts")
    check.add_argument("--split", choices=("groups", "random"), default="groups")
    check.add_argument("--json", type=Path, metavar="FILE", help="write the report as JSON")
    check.set_defaults(command=data_check)


def add_train(commands: Any) -> None:
    """The options of `xpnet train`."""
    p = commands.add_parser("train", help="train one network on the truth")
    p.add_argument(
        "job",
        choices=JOBS,
        help="teacher1: supervised; teacher2: pix2pix; teacher3: on an ImageNet encoder; unet: the "
        "baseline; student and lite: without teachers",
    )
    _add_settings(p)
    p.set_defaults(command=train)


def add_distill(commands: Any) -> None:
    """The options of `xpnet distill`."""
    p = commands.add_parser("distill", help="train a student on the truth and by teachers")
    p.add_argument("--model", choices=MODELS, default="xpnet", help="the student to train")
    p.add_argument(
        "--teacher",
        action="append",
        default=[],
        metavar="WEIGHTS",
        help="safetensors file with its card beside it; once for each, in their order",
    )
    _add_settings(p)
    p.set_defaults(command=distill)


def add_ablation(commands: Any) -> None:
    """The options of `xpnet ablation`."""
    p = commands.add_parser("ablation", help="the student alone and by its teachers, compared")
    p.add_argument(
        "--teacher",
        action="append",
        default=[],
        metavar="WEIGHTS",
        help="safetensors of teacher 1, 2 and 3, in this order; without one, its rows are left out",
    )
    p.add_argument(
        "--score",
        action="append",
        required=True,
        metavar="NAME=DIR[:SPLIT]",
        help="a data set to score on; may be repeated",
    )
    p.add_argument("--output", type=Path, default=ROOT / "build" / "ablation",
                   help="folder (default: build/ablation)")  # fmt: skip
    p.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="VARIANT",
        help="this row of the table; may be repeated (default: all)",
    )
    _add_settings(p, "ablation")
    p.set_defaults(command=ablation)


def add_pack(commands: Any) -> None:
    """The options of `xpnet pack`."""
    p = commands.add_parser("pack", help="weights at half precision, to share a large network")
    p.add_argument("weights", type=Path, help="safetensors file with its card beside it")
    p.add_argument("--output", type=Path, required=True, help="safetensors file to write")
    p.set_defaults(command=pack)


def _add_settings(p: argparse.ArgumentParser, default: str = "cpu") -> None:
    p.add_argument(
        "--config",
        default=default,
        help="settings: paper, cpu, gpu, ablation, or the path of a YAML file "
        "(default: %(default)s)",
    )
    p.add_argument("--skip-bad", action="store_true", help="leave out what `data check` refuses")
    p.add_argument(
        "override",
        nargs="*",
        metavar="key=value",
        help="settings over the file's: data=DIR, epochs=N, output=DIR (default: build/training/"
        "JOB) and others of training/settings.py",
    )


def data_check(args: argparse.Namespace) -> int:
    """`xpnet data check`: 2 where something keeps a training from starting."""
    try:
        from training.data.dataset_check import check
        from training.data.readers import read_source
    except ImportError as error:
        raise require(str(error.name), "checking data", TRAIN_HINT) from error
    if args.json:
        check_writable(args.json)
    report = check(read_source(args.folder, args.split))
    print("\n".join(report.as_lines()))
    if args.json:
        write_text(args.json, json.dumps(report.as_dict(), indent=2) + "\n")
    return 2 if report.errors else 0


def train(args: argparse.Namespace) -> int:
    """`xpnet train`."""
    return _train(args, args.job, {})


def distill(args: argparse.Namespace) -> int:
    """`xpnet distill`."""
    given = {"teachers": args.teacher} if args.teacher else {}
    return _train(args, f"distill_{args.model}", given)


def ablation(args: argparse.Namespace) -> int:
    """`xpnet ablation`."""
    try:
        from training.ablation import ablation as compare
        from training.evaluation.scored_sets import parse_set
        from training.settings import parse_overrides
    except ImportError as error:
        raise require(str(error.name), "training", TRAIN_HINT) from error
    overrides: dict[str, Any] = {**parse_overrides(args.override)}
    if args.skip_bad:
        overrides["skip_bad"] = True
    sets = [parse_set(word) for word in args.score]
    print(compare(args.config, overrides, args.teacher, sets, args.output, args.only), end="")
    return 0


def pack(args: argparse.Namespace) -> int:
    """`xpnet pack`."""
    check_distinct((args.output,), (args.weights,))
    try:
        from training.models.weight_files import pack as store
    except ImportError as error:
        raise require(str(error.name), "packing weights", TRAIN_HINT) from error
    store(args.weights, args.output)
    print(args.output)
    return 0


def _train(args: argparse.Namespace, job: str, given: dict[str, Any]) -> int:
    try:
        from training.jobs import train as start
        from training.settings import parse_overrides, read_job
    except ImportError as error:
        raise require(str(error.name), "training", TRAIN_HINT) from error
    overrides = {**given, **parse_overrides(args.override)}
    if args.skip_bad:
        overrides["skip_bad"] = True
    weights = start(read_job(job, args.config, overrides))
    if first_process():
        print(weights)
    return 0
