"""Options that several commands share."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from xpnet.paths import DEMO_CLIP, MODEL_REPOSITORY, setup_command

TRAIN_HINT = setup_command("train")
"""The command that installs the packages of training, export and panels."""


def add_command(
    commands: Any, name: str, purpose: str, example: str, run: Callable[[argparse.Namespace], int]
) -> argparse.ArgumentParser:
    """Add a command to the parser.

    Args:
        commands: The sub-parsers of `xpnet`.
        name: One word, such as "run", or two, such as "run graph".
        purpose: What the command does, in one line.
        example: A command line that can be pasted, shown at the end of `--help`.
        run: Called with the parsed arguments; returns the exit code.

    Returns:
        The parser of the command, for its options.
    """
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=purpose,
        description=f"{purpose[0].upper()}{purpose[1:]}.",
        epilog=f"example:\n  {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(command=run)
    return parser


def add_repository(parser: argparse.ArgumentParser) -> None:
    """Add `--repository`."""
    parser.add_argument(
        "--repository",
        type=Path,
        default=MODEL_REPOSITORY,
        help="Triton model repository (default: triton_models)",
    )


def add_frames(parser: argparse.ArgumentParser) -> None:
    """Add `--frames`."""
    parser.add_argument(
        "--frames",
        type=Path,
        default=DEMO_CLIP,
        help="clip with frames for the network (default: the demo clip)",
    )


def add_graph_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that describe a graph: input, mode, frame rate, size of a live source."""
    parser.add_argument(
        "input",
        help="a video file, a folder of images, rtsp://..., /dev/video0, decklink:0, live:FILE (a "
        "file as if it were live), testpattern, or (xpnet run) demo: the demo clip",
    )
    parser.add_argument(
        "--mode",
        choices=("every", "latest"),
        default="every",
        help="every: each frame waits for its own mask; latest: the clip's rate, "
        "the newest mask on every frame (default: every)",
    )
    parser.add_argument(
        "--interval",
        type=int,
        metavar="N",
        help="mode latest on deepstream: frames to skip after each processed one (default: 1)",
    )
    parser.add_argument(
        "--fps",
        type=float,
        help="frame rate of a folder of images (default: 25), or to request from a V4L2 device "
        "(default: its own)",
    )
    parser.add_argument(
        "--height",
        type=int,
        help="of a live source's frames (default: 1080; live:FILE: the file's own)",
    )
    parser.add_argument(
        "--width",
        type=int,
        help="of a live source's frames (default: 1920; live:FILE: the file's own)",
    )


def add_max_mask_age(parser: argparse.ArgumentParser) -> None:
    """Add `--max-mask-age`, in milliseconds."""
    parser.add_argument(
        "--max-mask-age",
        type=float,
        default=150.0,
        metavar="MS",
        help="mode latest: milliseconds by which a mask may be older than its frame "
        "(default: %(default)g)",
    )
