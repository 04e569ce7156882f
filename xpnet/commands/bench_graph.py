"""`xpnet bench graph` and `xpnet bench device`: measurements of the GStreamer graph."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from xpnet.commands.options import add_command, add_repository
from xpnet.commands.report_files import (
    add_report_files,
    check_report_files,
    write_report_files,
)
from xpnet.errors import UserError
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
        "--modes",
        nargs="+",
        default=["every", "latest"],
        help="of `xpnet run` (default: every latest)",
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
    _add_backend(p)
    add_report_files(p, section="graph", plot=True)


def _add_backend(p: argparse.ArgumentParser) -> None:
    p.add_argument("--backend", default="triton", help="as of `xpnet run` (default: %(default)s)")
    p.add_argument(
        "--model", default=DEFAULT_MODEL, help="of the repository (default: %(default)s)"
    )
    add_repository(p)


def graph(args: argparse.Namespace) -> int:
    """Run `xpnet bench graph`."""
    from deepstream.bench.graph_bench import GraphBenchSettings, bench_graph
    from deepstream.bench.graph_report import as_markdown, draw

    check_report_files(args, (args.clip,))
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
    write_report_files(args, report, as_markdown(report), "graph", draw)
    return 0


def add_device(commands: Any) -> None:
    """Add `xpnet bench device`."""
    p = add_command(
        commands,
        "bench device",
        "run the bench tests of 21 CFR 876.1520: algorithm, pixels, delays; and count false marks",
        "xpnet bench device --seconds 5 --rounds 1 --markdown build/device.md",
        device,
    )
    p.add_argument(
        "--scores",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="scores of `xpnet evaluate --json`, one file for each data set; repeat (default: "
        "those of the model's card)",
    )
    p.add_argument("--data", type=Path, help="data set: score the model on it, as `xpnet evaluate`")
    p.add_argument("--split", help="of --data: train, val or test (default: all frames)")
    p.add_argument(
        "--without-polyps",
        action="append",
        default=[],
        metavar="FILE[@START-END]",
        help="clip without a polyp, or the seconds of one; repeat (default: the first five seconds "
        "of the demo clip, which is short)",
    )
    p.add_argument(
        "--clip", type=Path, default=DEMO_CLIP, help="video to show (default: the demo clip)"
    )
    p.add_argument(
        "--size",
        default="1080p",
        help="of the live picture: 720p, 1080p, 4k or WIDTHxHEIGHT (default: %(default)s)",
    )
    p.add_argument(
        "--seconds", type=float, default=20, help="of each delay's run (default: %(default)s)"
    )
    p.add_argument(
        "--rounds", type=int, default=3, help="of runs with marks and without (default: 3)"
    )
    _add_backend(p)
    add_report_files(p, section="device")


def device(args: argparse.Namespace) -> int:
    """Run `xpnet bench device`; return 2 if pixels outside the marks differ."""
    from deepstream.bench.device_bench import DeviceBenchSettings, bench_device
    from deepstream.bench.device_report import as_markdown
    from deepstream.bench.false_marks import BUILT_IN

    check_report_files(args, (args.clip, *args.scores))
    report = bench_device(
        DeviceBenchSettings(
            scores=_scores(args),
            clip=args.clip,
            without_polyps=tuple(args.without_polyps) or (BUILT_IN,),
            size=args.size,
            seconds=args.seconds,
            rounds=args.rounds,
            backend=args.backend,
            model=args.model,
            repository=args.repository,
        )
    )
    write_report_files(args, report, as_markdown(report), "device")
    return 2 if report.get("pixels", {}).get("different_outside") else 0


def _scores(args: argparse.Namespace) -> dict[str, Any]:
    """Return scores by the name of the data set: of files, or of an evaluation that runs now."""
    scores: dict[str, Any] = {}
    for path in args.scores:
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            if not isinstance(found, dict) or "dice" not in found:
                raise ValueError("expected an object with `dice`")
            if found.get("as_video"):
                raise ValueError("made with --as-video, expected the scores of frames")
        except (OSError, ValueError) as error:
            raise UserError(f"{path}: not the scores of `evaluate --json`: {error}") from error
        if path.stem in scores:
            raise UserError(
                f"--scores {path}: a second file of the name '{path.stem}', expected a name of its "
                "own for each data set"
            )
        scores[path.stem] = found
    if args.split and not args.data:
        raise UserError(f"--split {args.split}: expected --data, whose split it is")
    if args.data:
        from training.data.readers import read_data_set
        from training.evaluation.scoring import evaluate
        from xpnet.paths import onnx_path
        from xpnet.serving.onnx_inference import OnnxInference

        name = f"{args.data.name} {args.split or ''}".strip()
        if name in scores:
            raise UserError(f"--data {args.data}: --scores has a file of the name '{name}', too")
        inference = OnnxInference(onnx_path(args.repository / args.model))
        try:
            split = str(inference.card.training.get("settings", {}).get("split", "groups"))
            found, _ = evaluate(inference, read_data_set(args.data, split), args.split, sweep=False)
        finally:
            inference.close()
        scores[name] = found
    return scores
