"""`xpnet graph`: the graph of a platform, drawn, or as a gst-launch line."""

from __future__ import annotations

import argparse
import shutil
import subprocess
from pathlib import Path
from typing import Any

from xpnet.commands.options import add_graph_options
from xpnet.errors import UserError
from xpnet.files import check_writable, replacing, write_text
from xpnet.platforms import GRAPHS, GSTREAMER

PICTURES = (".svg", ".png", ".pdf")


def add_graph(commands: Any) -> None:
    """The options of `xpnet graph`."""
    p = commands.add_parser("graph", help="draw the graph of a platform, or print it")
    add_graph_options(p)
    p.add_argument(
        "--output",
        default="masks.mp4",
        help="as of `xpnet run`: file, 'screen', rtsp://... (default: %(default)s); not written",
    )
    p.add_argument(
        "--platform",
        choices=GRAPHS,
        default=GSTREAMER,
        help="deepstream: a dGPU; deepstream-jetson: a Jetson (default: %(default)s)",
    )
    p.add_argument(
        "--infer-config",
        default="INFER_CONFIG",
        metavar="FILE",
        help="deepstream: the config that nvinferserver shall read",
    )
    p.add_argument("--software-encoder", action="store_true", help="deepstream: without NVENC")
    p.add_argument("--dot", type=Path, metavar="FILE", help="write it for Graphviz")
    p.add_argument(
        "--picture", type=Path, metavar="FILE", help=f"draw it with Graphviz: {' '.join(PICTURES)}"
    )
    p.set_defaults(command=graph)


def graph(args: argparse.Namespace) -> int:
    """`xpnet graph`; without a file to write it prints the gst-launch line."""
    from deepstream.graph.drawing import as_dot
    from deepstream.graph.pipeline import checked_interval, describe_graph
    from deepstream.io.output import parse_output
    from deepstream.io.source import open_source

    for path in (args.dot, args.picture):
        if path is not None:
            check_writable(path)
    output = parse_output(args.output)
    words = {"location": output.where, "muxer": output.muxer, "rtp_port": "RTP_PORT"}
    description = describe_graph(
        args.platform,
        open_source(args.input, args.fps, args.height, args.width, args.platform == GSTREAMER),
        output.kind,
        words,
        args.mode,
        args.infer_config,
        args.platform != GSTREAMER and not args.software_encoder,
        checked_interval(args.interval, args.platform, args.mode),
    )
    if args.dot is None and args.picture is None:
        print(f"gst-launch-1.0 {description.as_launch()}")
    if args.dot is not None:
        write_text(args.dot, as_dot(description))
    if args.picture is not None:
        draw(as_dot(description), args.picture)
    return 0


def draw(dot: str, picture: Path) -> None:
    """Writes a picture of a DOT text. Raises UserError where Graphviz is missing or fails."""
    kind = picture.suffix.lower()
    if kind not in PICTURES:
        raise UserError(f"{picture}: expected a name that ends in {' '.join(PICTURES)}")
    program = shutil.which("dot")
    if program is None:
        raise UserError("drawing needs Graphviz: apt install graphviz; --dot FILE needs nothing")
    with replacing(picture) as partial:
        command = [program, f"-T{kind[1:]}", "-o", str(partial)]
        done = subprocess.run(command, input=dot, text=True, capture_output=True, check=False)
        if done.returncode != 0:
            raise UserError(f"{picture}: Graphviz failed: {done.stderr.strip()}")
