"""`xpnet bench graph` and `xpnet bench device`: measurements of the GStreamer graph."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from xpnet.commands.options import add_command, add_repository
from xpnet.files import check_distinct, check_writable, write_text
from xpnet.paths import DEMO_CLIP
from xpnet.serving.model_config import DEFAULT_MODEL


def add_graph_bench(commands: Any) -> None:
    """Add `xpnet bench graph`."""
    p = add_command(
        commands,
        "bench graph",
        "time the parts of the graph, its frames a second, its delay and its copies of a frame",
        "xpnet bench graph --sizes 720p --streams 1 --seconds 3 --markdown build/graph.md",
        graph,
    )
    p.add_argument(
        "--seconds", type=float, default=8, help="of each run and each clip (default: %(default)s)"
    )
    p.add_argument(
        "--sizes",
        nargs="+",
        default=["720p", "1080p", "4k"],
        help="720p, 1080p, 4k or WIDTHxHEIGHT (default: 720p 1080p 4k)",
    )
    p.add_argument(
        "--modes", nargs="+", default=["every", "latest"], help="(default: every latest)"
    )
    p.add_argument(
        "--streams",
        nargs="+",
        type=int,
        default=[1, 2, 4],
        help="numbers of runs at the same time, with one Triton for all (default: 1 2 4)",
    )
    p.add_argument(
        "--only",
        nargs="+",
        default=[],
        help="of parts, runs, tracer, delay and copies (default: all)",
    )
    p.add_argument(
        "--clip",
        type=Path,
        default=DEMO_CLIP,
        help="scaled to each size in a temporary folder (default: the demo clip)",
    )
    _add_backend_and_files(p)


def _add_backend_and_files(p: argparse.ArgumentParser) -> None:
    p.add_argument("--backend", default="triton", help="as of `xpnet run` (default: %(default)s)")
    p.add_argument("--model", default=DEFAULT_MODEL, help="(default: %(default)s)")
    add_repository(p)
    p.add_argument("--json", type=Path, metavar="FILE", help="write all figures as JSON")
    p.add_argument("--markdown", type=Path, metavar="FILE", help="write the tables")
    p.add_argument("--plot", type=Path, metavar="FILE", help="draw it: .png, .svg or .pdf")


def graph(args: argparse.Namespace) -> int:
    """Run `xpnet bench graph`."""
    from deepstream.bench.graph_bench import GraphBenchSettings, bench_graph
    from deepstream.bench.graph_report import as_markdown, draw

    _check_files(args)
    report = bench_graph(
        GraphBenchSettings(
            seconds=args.seconds,
            sizes=tuple(args.sizes),
            modes=tuple(args.modes),
            streams=tuple(args.streams),
            clip=args.clip,
            backend=args.backend,
            model=args.model,
            repository=args.repository,
            only=tuple(args.only),
        )
    )
    _write(args, report, as_markdown(report), draw)
    return 0


def _check_files(args: argparse.Namespace) -> None:
    """Check the files to write, before any work is done."""
    from xpnet.figures import check_figure

    check_distinct((args.json, args.markdown, args.plot), (args.clip,))
    for path in (args.json, args.markdown):
        if path:
            check_writable(path)
    if args.plot:
        check_figure(args.plot)


def _write(args: argparse.Namespace, report: dict[str, Any], table: str, draw: Any) -> None:
    print(table, end="")
    if args.json:
        write_text(args.json, json.dumps(report, indent=2) + "\n")
    if args.markdown:
        write_text(args.markdown, table)
    if args.plot:
        draw(report, args.plot)
