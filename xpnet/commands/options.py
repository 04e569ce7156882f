"""Options that several commands share."""

from __future__ import annotations

import argparse
from pathlib import Path

from xpnet.paths import MODEL_REPOSITORY, ROOT

TRAIN_HINT = "scripts/setup.sh --train"
"""What installs the packages of training, export and panels."""


def add_repository(parser: argparse.ArgumentParser) -> None:
    """`--repository`."""
    parser.add_argument(
        "--repository",
        type=Path,
        default=MODEL_REPOSITORY,
        help="Triton model repository (default: triton_models)",
    )


def add_frames(parser: argparse.ArgumentParser) -> None:
    """`--frames`."""
    parser.add_argument(
        "--frames",
        type=Path,
        default=ROOT / "docs" / "demo" / "colonoscopy.mp4",
        help="clip whose frames the network is given (default: the demo's)",
    )


def add_graph_options(parser: argparse.ArgumentParser) -> None:
    """What describes a graph: `input`, `--mode`, `--fps`, and a live source's size."""
    parser.add_argument(
        "input",
        help="a video file, a folder of images, rtsp://..., /dev/video0, or decklink:0",
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
        help="mode latest on deepstream: after each frame with a mask of its own N frames show it, "
        "too (default: 1)",
    )
    parser.add_argument(
        "--fps",
        type=float,
        help="rate of a folder of images (default: 25), or to ask a V4L2 device for (default: "
        "its own)",
    )
    parser.add_argument(
        "--height", type=int, default=1080, help="of a live source's frames (default: %(default)s)"
    )
    parser.add_argument(
        "--width", type=int, default=1920, help="of a live source's frames (default: %(default)s)"
    )
