"""`xpnet archive`: list the polyps of all recordings of an archive."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from xpnet.commands.options import add_command, add_repository
from xpnet.files import write_text
from xpnet.serving.cpu_runtimes import AUTO, RUNTIMES
from xpnet.serving.model_config import DEFAULT_MODEL

SUMMARY = "summary.json"
"""Name of the summary in the folder of the results."""


def add_archive(commands: Any) -> None:
    """Add `xpnet archive`."""
    p = add_command(
        commands,
        "archive",
        "list the polyps of all recordings of an archive as Parquet, several at once",
        "xpnet archive recordings --output build/archive",
        archive,
    )
    p.add_argument(
        "input", help="a folder, searched with its subfolders, or a bucket: s3://..., gs://..."
    )
    p.add_argument(
        "--output",
        type=Path,
        required=True,
        metavar="FOLDER",
        help=f"a Parquet file for each clip, and {SUMMARY}; clips that are done are skipped",
    )
    p.add_argument(
        "--workers",
        type=int,
        default=0,
        metavar="N",
        help="processes; each computes one clip (default: one on each core)",
    )
    p.add_argument("--masks", action="store_true", help="also write each clip with its masks drawn")
    p.add_argument(
        "--backend",
        choices=(AUTO, *RUNTIMES),
        default=AUTO,
        help="runtime of the inference; auto: the one that Triton uses on this machine "
        "(default: %(default)s)",
    )
    p.add_argument(
        "--model", default=DEFAULT_MODEL, help="model of the repository (default: %(default)s)"
    )
    add_repository(p)


def archive(args: argparse.Namespace) -> int:
    """Run `xpnet archive`; return 2 if a clip failed."""
    from deepstream.archive.job import ArchiveSettings, run_archive

    out = sys.stdout  # run_archive keeps what Ray prints away from it

    def report(result: Any, number: int, total: int) -> None:
        state = f"failed: {result.failure}"
        if not result.failure:
            rate = result.frames / result.seconds
            state = (
                f"{result.frames} frames, {result.frames_with_polyp} with a polyp, {rate:.1f} fps"
            )
        print(f"{number}/{total} {result.clip}: {state}", file=out, flush=True)

    summary = run_archive(
        ArchiveSettings(
            args.input,
            args.output,
            args.workers,
            args.masks,
            args.model,
            args.repository,
            args.backend,
        ),
        report,
    )
    write_text(args.output / SUMMARY, json.dumps(summary, indent=2) + "\n")
    failed = summary["failed"]
    print(
        f"clips: {summary['done']} done, {summary['skipped']} skipped, {len(failed)} failed\n"
        f"frames: {summary['frames']} in {summary['seconds']:.1f} s, {summary['fps']:.1f} fps"
    )
    for clip in failed:
        print(f"xpnet: {clip['clip']}: {clip['reason']}", file=sys.stderr)
    return 2 if failed else 0
