"""`xpnet bench soak`, `faults` and `steadiness`: benchmarks of a live run and of its masks."""

from __future__ import annotations

import argparse
import math
from contextlib import closing
from pathlib import Path
from typing import Any

from xpnet.commands.options import add_command, add_max_mask_age, add_repository
from xpnet.commands.report_files import (
    add_report_files,
    check_report_files,
    write_report_files,
)
from xpnet.errors import UserError
from xpnet.paths import DEMO_CLIP
from xpnet.serving.model_config import DEFAULT_MODEL


def add_soak(commands: Any) -> None:
    """Add `xpnet bench soak`."""
    p = add_command(
        commands,
        "bench soak",
        "run live for a long time: frames lost, added latency, memory",
        "xpnet bench soak --minutes 60 --json build/soak.json --plot build/soak.png",
        soak,
    )
    p.add_argument(
        "--minutes", type=float, default=60, help="length of the run (default: %(default)g)"
    )
    p.add_argument(
        "--clip",
        type=Path,
        default=DEMO_CLIP,
        help="played as if live, again and again (default: the demo clip)",
    )
    p.add_argument("--height", type=int, default=720, help="of the frames (default: %(default)s)")
    p.add_argument("--width", type=int, default=1280, help="of the frames (default: %(default)s)")
    p.add_argument(
        "--pattern-fps", type=float, metavar="FPS", help="a test pattern of this rate, no clip"
    )
    p.add_argument("--backend", default="triton", help="as of `xpnet run` (default: %(default)s)")
    add_report_files(p, plot=True)


def soak(args: argparse.Namespace) -> int:
    """Run `xpnet bench soak`; return 2 if frames were lost or the run ended by itself."""
    from xpnet.bench.soak import SoakSettings, as_lines, draw, failed
    from xpnet.bench.soak import soak as run_soak

    check_report_files(args, (args.clip,))
    settings = SoakSettings(
        args.minutes,
        args.clip,
        args.height,
        args.width,
        args.pattern_fps,
        ("--backend", args.backend),
    )
    report = run_soak(settings)
    write_report_files(args, report, "\n".join(as_lines(report)), draw=draw)
    return 2 if failed(report) else 0


def add_faults(commands: Any) -> None:
    """Add `xpnet bench faults`."""
    p = add_command(
        commands,
        "bench faults",
        "let server, source and clients of a live run fail: frames lost, time until masks are back",
        "xpnet bench faults --times 10 --json build/faults.json --markdown build/faults.md",
        faults,
    )
    p.add_argument("--times", type=int, default=10, help="of each fault (default: %(default)s)")
    p.add_argument(
        "--only", action="append", default=[], metavar="FAULT", help="a fault of the table; repeat"
    )
    p.add_argument(
        "--clip", type=Path, default=DEMO_CLIP, help="video to segment (default: the demo clip)"
    )
    p.add_argument("--height", type=int, default=720, help="of the frames (default: %(default)s)")
    p.add_argument("--width", type=int, default=1280, help="of the frames (default: %(default)s)")
    add_max_mask_age(p)
    add_report_files(p, section="faults")


def faults(args: argparse.Namespace) -> int:
    """Run `xpnet bench faults`; return 2 if a frame was lost."""
    from xpnet.bench.faults.all_faults import FAULTS
    from xpnet.bench.faults.injection import FaultSettings
    from xpnet.bench.faults.table import as_markdown, bench_faults

    check_report_files(args, (args.clip,))
    report = bench_faults(
        FaultSettings(
            args.times, tuple(args.only), args.clip, args.height, args.width, args.max_mask_age
        ),
        FAULTS,
    )
    write_report_files(args, report, as_markdown(report), "faults")
    return 2 if any(row["frames_lost"] for row in report["rows"]) else 0


def add_steadiness(commands: Any) -> None:
    """Add `xpnet bench steadiness`."""
    p = add_command(
        commands,
        "bench steadiness",
        "compare steadied masks with raw ones: flicker, lag, marks, Dice",
        "xpnet bench steadiness --json build/steadiness.json --markdown build/steadiness.md",
        steadiness,
    )
    p.add_argument(
        "--model", default=DEFAULT_MODEL, help="of the repository (default: %(default)s)"
    )
    p.add_argument(
        "--clip", type=Path, default=DEMO_CLIP, help="video to segment (default: the demo clip)"
    )
    p.add_argument(
        "--without-polyp",
        type=float,
        default=5.0,
        metavar="SECONDS",
        help="so many seconds at the start of the clip show no polyp (default: %(default)g)",
    )
    p.add_argument(
        "--sequences", type=Path, metavar="DIR", help="a data set whose groups are consecutive "
        "frames; they count as 25 a second",
    )  # fmt: skip
    p.add_argument(
        "--stills", type=Path, metavar="DIR", help="a data set each of whose frames becomes a clip "
        "of a second: slowly moved, with noise, its mask alike",
    )  # fmt: skip
    p.add_argument("--split", help="of --stills: train, val or test (default: all frames)")
    add_report_files(p, section="steadiness")
    add_repository(p)


def steadiness(args: argparse.Namespace) -> int:
    """Run `xpnet bench steadiness`."""
    from xpnet.bench.steadiness import as_markdown, in_process, read_clip, report
    from xpnet.paths import onnx_path
    from xpnet.serving.onnx_inference import OnnxInference

    check_report_files(args, (args.clip,))
    _check_without_polyp(args.without_polyp, args.clip)
    if args.split and not args.stills:
        raise UserError(
            f"--split {args.split} without --stills: expected the data set of the split"
        )
    with closing(OnnxInference(onnx_path(args.repository / args.model))) as inference:
        infer = in_process(inference)
        clips = [read_clip(args.clip, None, infer)]
        if args.without_polyp > 0:
            clips.append(read_clip(args.clip, args.without_polyp, infer))
        if args.sequences:
            clips += labelled_sequences(args.sequences, infer)
        if args.stills:
            clips.append(moved_stills(args.stills, args.split, infer))
        found = report(clips, inference.card)
    write_report_files(args, found, as_markdown(found), "steadiness")
    return 0


def _check_without_polyp(seconds: float, clip: Path) -> None:
    """Check that seconds are none, or at least a frame of a clip. Raises UserError."""
    from xpnet.images import frame_rate

    if seconds == 0:
        return
    fps = frame_rate(clip)
    if not (math.isfinite(seconds) and round(seconds * fps) >= 1):
        raise UserError(
            f"--without-polyp {seconds:g}: expected 0, or at least a frame of {clip.name}, "
            f"{1 / fps:.3g} seconds"
        )


def moved_stills(folder: Path, split: str | None, infer: Any) -> Any:
    """Return the clips that are made from a data set's frames as one sequence with true masks.

    Args:
        folder: The data set.
        split: A split of it, or None for all frames.
        infer: Returns the map of a frame.

    Raises:
        UserError: It cannot be read, or the split is empty.
    """
    from training.data.readers import read_data_set
    from xpnet.bench.moved_stills import MAX_STILLS, read_stills

    samples = read_data_set(folder).in_split(split)
    if len(samples) > MAX_STILLS:
        raise UserError(
            f"--stills {folder}: {len(samples)} frames, expected at most {MAX_STILLS}: choose a "
            "--split"
        )
    name = f"{folder.name}{f' {split}' if split else ''}, moved frames"
    return read_stills(name, samples, infer)


def labelled_sequences(folder: Path, infer: Any) -> list[Any]:
    """Return the groups of a data set, one after the other, as one sequence with true masks.

    Args:
        folder: The data set.
        infer: Returns the map of a frame.

    Raises:
        UserError: It cannot be read, or a frame has no group.
    """
    from training.data.readers import read_data_set
    from xpnet.bench.steadiness import read_groups
    from xpnet.images import natural_key

    found = read_data_set(folder).samples
    for sample in found:
        if not sample.group:
            raise UserError(
                f"--sequences {folder}: frame '{sample.pair.stem}' has no group, expected a column "
                "`group` in index.csv that names the clip of each frame"
            )
    samples = sorted(
        found,
        key=lambda s: (natural_key(s.group), natural_key(s.pair.stem)),
    )
    return [read_groups(folder.name, samples, infer)]
