"""`xpnet bench training`: the parts of a training step."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

from xpnet.commands.options import TRAIN_HINT, add_command
from xpnet.commands.report_files import add_report_files, check_report_files, write_report_files
from xpnet.commands.train import JOBS, add_settings, overrides_of
from xpnet.errors import UserError, not_installed
from xpnet.paths import DEMO_CLIP

WITH_TEACHERS = "distill_xpnet"
"""Job that is measured, too, if teachers are given."""


def add_training(commands: Any) -> None:
    """Add `xpnet bench training`."""
    p = add_command(
        commands,
        "bench training",
        "time the parts of a training step: data, forward, backward, optimiser, averaging",
        "xpnet bench training --jobs student teacher1 --steps 5 size=128",
        training,
    )
    p.add_argument("--jobs", nargs="+", choices=JOBS, default=["unet", "teacher1", "student"],
                   help="as of `xpnet train` (default: unet teacher1 student)")  # fmt: skip
    p.add_argument(
        "--teacher",
        action="append",
        default=[],
        metavar="WEIGHTS",
        help="also time a student with these teachers; may be repeated",
    )
    p.add_argument("--steps", type=int, default=10, help="of each (default: %(default)s)")
    add_settings(p)
    add_report_files(p, section="training")


def training(args: argparse.Namespace) -> int:
    """Run `xpnet bench training`."""
    try:
        from training.bench.training_bench import as_markdown, bench_training, make_data
        from training.settings import read_settings
    except ImportError as error:
        raise not_installed(str(error.name), "timing a training", TRAIN_HINT) from error
    if args.steps < 1:
        raise UserError(f"--steps {args.steps}: expected at least 1")
    check_report_files(args)
    with tempfile.TemporaryDirectory(prefix="xpnet-bench-") as folder:
        overrides = overrides_of(args)
        if "data" not in overrides:
            overrides["data"] = str(make_data(Path(folder) / "data", DEMO_CLIP))
        jobs = {job: read_settings(job, args.config, overrides) for job in args.jobs}
        if args.teacher:
            with_teachers = {**overrides, "teachers": args.teacher}
            jobs[WITH_TEACHERS] = read_settings(WITH_TEACHERS, args.config, with_teachers)
        found = bench_training(jobs, args.steps)
    write_report_files(args, found, as_markdown(found), "training")
    return 0
