"""`xpnet train`, `train check-data`, `ablation`, `folds`, `peers`, `table`: frames to weights."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from xpnet.commands.options import TRAIN_HINT, add_command
from xpnet.commands.report_files import (
    add_report_files,
    check_report_files,
    write_report_files,
)
from xpnet.errors import is_rank_zero, not_installed
from xpnet.files import check_distinct, check_writable, write_text
from xpnet.paths import BUILD

JOBS = ("teacher1", "teacher2", "teacher3", "unet", "student", "lite")


def add_check_data(commands: Any) -> None:
    """Add `xpnet train check-data`."""
    p = add_command(
        commands,
        "train check-data",
        "check a data set: sizes, empty masks, broken files, duplicates, leaks between splits",
        "xpnet train check-data DIR --json build/data.json",
        check_data,
    )
    p.add_argument("folder", type=Path, help="a data set in one of the known layouts")
    p.add_argument(
        "--split",
        choices=("groups", "random", "fold1", "fold2", "fold3", "fold4", "fold5"),
        default="groups",
        help="groups: by clip, or as in the index; random: 95 %% train, 5 %% val; fold1 and so on: "
        "as in `xpnet train folds` (default: groups)",
    )
    p.add_argument("--json", type=Path, metavar="FILE", help="write the report as JSON")


def add_train(commands: Any) -> None:
    """Add `xpnet train`."""
    p = add_command(
        commands,
        "train",
        "train one network on frames with masks",
        "xpnet train student data=DIR epochs=20",
        train,
    )
    p.add_argument(
        "job",
        choices=JOBS,
        help="teacher1: supervised; teacher2: pix2pix; teacher3: on an ImageNet encoder; unet: the "
        "baseline; student and lite: without teachers",
    )
    add_settings(p)


def add_ablation(commands: Any) -> None:
    """Add `xpnet train ablation`."""
    p = add_command(
        commands,
        "train ablation",
        "train the student without teachers and with each choice of teachers, and compare",
        "xpnet train ablation data=DIR --teacher T1 --teacher T2 --teacher T3 --score val=DIR:val",
        ablation,
    )
    p.add_argument(
        "--teacher",
        action="append",
        default=[],
        metavar="WEIGHTS",
        help="safetensors of teacher 1, 2 and 3, in this order; rows without teacher are left out",
    )
    add_scored_sets(p)
    _add_rows(p, "ablation")
    add_settings(p, "ablation")


def add_table(commands: Any) -> None:
    """Add `xpnet train table`."""
    p = add_command(
        commands,
        "train table",
        "train every network of the paper's Table 1 and of the ablation within a given time",
        "xpnet train table data=DIR --config gpu --minutes 600 --score val=DIR:val",
        table,
    )
    p.add_argument(
        "--minutes",
        type=float,
        required=True,
        help="time for all trainings and scores; the epochs follow from it",
    )
    add_scored_sets(p)
    p.add_argument(
        "--seeds", type=int, default=3, help="of the rows that decide (default: %(default)s)"
    )
    _add_rows(p, "table")
    add_settings(p, "ablation")


def add_peers(commands: Any) -> None:
    """Add `xpnet train peers`."""
    p = add_command(
        commands,
        "train peers",
        "train our networks and those that others use with equal budgets, and compare",
        "xpnet train peers data=DIR --score val=DIR:val --score kvasir-seg=DIR",
        peers,
    )
    add_scored_sets(p)
    _add_rows(p, "peers")
    add_report_files(p, section="peers")
    add_settings(p, "ablation")


def add_folds(commands: Any) -> None:
    """Add `xpnet train folds`."""
    p = add_command(
        commands,
        "train folds",
        "count false positives on all frames: five trainings, each without a fifth of the clips",
        "xpnet train folds data=DIR empty_share=0.15 negative_crops=0.1",
        folds,
    )
    p.add_argument(
        "--job",
        choices=("lite", "student", "unet", "teacher1", "teacher3"),
        default="lite",
        help="what to train, without teachers (default: %(default)s)",
    )
    _add_output(p, "folds")
    add_report_files(p, section="folds")
    add_settings(p)


def _add_rows(p: argparse.ArgumentParser, name: str) -> None:
    """Add `--output` and `--only` of a command that trains the rows of a table."""
    _add_output(p, name)
    p.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="ROW",
        help="this row of the table; may be repeated (default: all)",
    )


def _add_output(p: argparse.ArgumentParser, name: str) -> None:
    """Add `--output` of a command with several trainings."""
    p.add_argument("--output", type=Path, default=BUILD / name,
                   help=f"folder; the same command resumes it (default: build/{name})")  # fmt: skip


def add_settings(p: argparse.ArgumentParser, default: str = "cpu") -> None:
    """Add the options that all trainings share: settings file and overrides."""
    p.add_argument(
        "--config",
        default=default,
        help="settings: paper, cpu, gpu, ablation, or the path of a YAML file "
        "(default: %(default)s)",
    )
    p.add_argument(
        "--skip-bad",
        action="store_true",
        help="leave out the pairs that `train check-data` refuses",
    )
    p.add_argument(
        "override",
        nargs="*",
        metavar="key=value",
        help="settings over the file's: data=DIR, epochs=N, output=DIR (default: build/training/"
        "JOB) and others of training/settings.py",
    )


def overrides_of(args: argparse.Namespace) -> dict[str, Any]:
    """Return the settings that the options of `add_settings` override.

    Args:
        args: The options.

    Raises:
        UserError: A word is not key=value.
    """
    from training.settings import parse_overrides

    skip = {"skip_bad": True} if args.skip_bad else {}
    return {**parse_overrides(args.override), **skip}


def add_scored_sets(p: argparse.ArgumentParser) -> None:
    """Add `--score`."""
    p.add_argument(
        "--score",
        action="append",
        required=True,
        metavar="NAME=DIR[:SPLIT]",
        help="a data set to score on; may be repeated",
    )


def check_data(args: argparse.Namespace) -> int:
    """Run `xpnet train check-data`; return 2 if a file prevents training."""
    try:
        from training.data.dataset_check import check_data_set
        from training.data.readers import read_data_set
    except ImportError as error:
        raise not_installed(str(error.name), "checking data", TRAIN_HINT) from error
    if args.json:
        check_writable(args.json)
    data_set = read_data_set(args.folder, args.split)
    check_distinct((args.json,), data_set.files)
    report = check_data_set(data_set)
    print("\n".join(report.as_lines()))
    if args.json:
        write_text(args.json, json.dumps(report.as_dict(), indent=2) + "\n")
    return 2 if report.errors else 0


def train(args: argparse.Namespace) -> int:
    """Run `xpnet train`."""
    return start_training(args, args.job, {})


def ablation(args: argparse.Namespace) -> int:
    """Run `xpnet train ablation`."""
    try:
        from training.ablation import run_ablation
        from training.evaluation.scored_sets import parse_sets
    except ImportError as error:
        raise not_installed(str(error.name), "training", TRAIN_HINT) from error
    overrides = overrides_of(args)
    sets = parse_sets(args.score)
    print(run_ablation(args.config, overrides, args.teacher, sets, args.output, args.only), end="")
    return 0


def peers(args: argparse.Namespace) -> int:
    """Run `xpnet train peers`."""
    try:
        from training.evaluation.scored_sets import parse_sets
        from training.peer_comparison import as_markdown, run_peers
    except ImportError as error:
        raise not_installed(str(error.name), "training", TRAIN_HINT) from error
    overrides = overrides_of(args)
    sets = parse_sets(args.score)
    check_report_files(args, ())
    found = run_peers(args.config, overrides, sets, args.output, args.only)
    write_report_files(args, found, as_markdown(found), "peers")
    return 0


def folds(args: argparse.Namespace) -> int:
    """Run `xpnet train folds`."""
    try:
        from training.cross_validation import as_markdown, run_folds
    except ImportError as error:
        raise not_installed(str(error.name), "training", TRAIN_HINT) from error
    overrides = overrides_of(args)
    check_report_files(args, ())
    found = run_folds(args.job, args.config, overrides, args.output)
    write_report_files(args, found, as_markdown(found), "folds")
    return 0


def table(args: argparse.Namespace) -> int:
    """Run `xpnet train table`."""
    try:
        from training.evaluation.scored_sets import parse_sets
        from training.table_run import run_table
    except ImportError as error:
        raise not_installed(str(error.name), "training", TRAIN_HINT) from error
    overrides = overrides_of(args)
    sets = parse_sets(args.score)
    text = run_table(
        args.config, overrides, sets, args.output, args.minutes, args.seeds, args.only
    )  # fmt: skip
    print(text, end="")
    return 0


def start_training(args: argparse.Namespace, job: str, given: dict[str, Any]) -> int:
    """Start a training.

    Args:
        args: Options of the command.
        job: A job of training.settings.
        given: Settings that the command adds.

    Returns:
        The exit code.
    """
    try:
        from training.jobs import train as start
        from training.settings import read_settings
    except ImportError as error:
        raise not_installed(str(error.name), "training", TRAIN_HINT) from error
    weights = start(read_settings(job, args.config, {**given, **overrides_of(args)}))
    if is_rank_zero():
        print(weights)
    return 0
