"""Options that several commands share."""

from __future__ import annotations

import argparse
from pathlib import Path

from xpnet.triton.server import REPOSITORY, ROOT

TRAIN_HINT = "scripts/setup.sh --train"
"""What installs the packages of training, export and panels."""


def add_repository(parser: argparse.ArgumentParser) -> None:
    """`--repository`."""
    parser.add_argument(
        "--repository",
        type=Path,
        default=REPOSITORY,
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
