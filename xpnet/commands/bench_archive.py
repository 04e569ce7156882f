"""`xpnet bench archive`: an archive of short clips, beside a loop over `xpnet run`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from xpnet.commands.options import add_command
from xpnet.commands.report_files import (
    add_report_files,
    check_report_files,
    write_report_files,
)
from xpnet.paths import DEMO_CLIP


def add_archive_bench(commands: Any) -> None:
    """Add `xpnet bench archive`."""
    p = add_command(
        commands,
        "bench archive",
        "do short clips by xpnet archive, also killed and resumed, and by a loop over xpnet run",
        "xpnet bench archive --clips 8 --json build/archive.json",
        bench,
    )
    p.add_argument(
        "--clips", type=int, default=40, help="one of them is corrupt (default: %(default)s)"
    )
    p.add_argument("--seconds", type=float, default=2, help="of each (default: %(default)g)")
    p.add_argument(
        "--workers", type=int, default=0, help="as of `xpnet archive` (default: one on each core)"
    )
    p.add_argument(
        "--clip", type=Path, default=DEMO_CLIP, help="they are cut from (default: the demo clip)"
    )
    add_report_files(p, section="archive")


def bench(args: argparse.Namespace) -> int:
    """Run `xpnet bench archive`; return 2 if a clip was done twice."""
    from deepstream.bench.archive_bench import ArchiveBenchSettings, bench_archive
    from deepstream.bench.archive_report import as_markdown

    check_report_files(args, (args.clip,))
    report = bench_archive(ArchiveBenchSettings(args.clips, args.seconds, args.workers, args.clip))
    write_report_files(args, report, as_markdown(report), "archive")
    return 2 if report["resumed"]["done_again"] else 0
