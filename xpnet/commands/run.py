"""`xpnet run` and `xpnet run graph`: segment a video; print or draw the graph that does it."""

from __future__ import annotations

import argparse
import gc
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from xpnet.commands.control import (
    add_control_options,
    add_record_options,
    control_settings,
    record_settings,
)
from xpnet.commands.options import (
    add_command,
    add_graph_options,
    add_max_mask_age,
    add_repository,
)
from xpnet.errors import UserError
from xpnet.files import check_distinct, check_writable, replacing, write_text
from xpnet.paths import DEMO_CLIP
from xpnet.platforms import GRAPHS, GSTREAMER, JETSON
from xpnet.serving.cpu_runtimes import RUNTIMES
from xpnet.serving.model_config import DEFAULT_MODEL, DEFAULT_PLAN

DEMO = "demo"
"""Input that names the demo clip."""
PICTURES = (".svg", ".png", ".pdf")
"""Formats that `xpnet run graph --picture` writes."""


def add_run(commands: Any) -> None:
    """Add `xpnet run`."""
    p = add_command(
        commands,
        "run",
        "segment a video and draw the masks",
        "xpnet run docs/demo/colonoscopy.mp4 --output build/demo.mp4",
        run,
    )
    add_graph_options(p)
    p.add_argument(
        "--output",
        required=True,
        help="file to write, .mp4 or .mkv; 'screen'; 'drm', the screen of a Jetson without a "
        "desktop; rtsp://HOST:PORT/NAME to serve at; or 'none'",
    )
    p.add_argument(
        "--platform",
        choices=GRAPHS,
        default=GSTREAMER,
        help="deepstream: NVIDIA's elements and pyds; deepstream-jetson: the same where a Jetson "
        "cannot be detected, as in some containers (default: %(default)s)",
    )
    p.add_argument(
        "--backend",
        choices=("triton", *RUNTIMES),
        default="triton",
        help="where inference runs; onnxruntime and openvino: in this process (default: triton)",
    )
    p.add_argument(
        "--url",
        default="",
        metavar="HOST:PORT",
        help="gRPC address of a running Triton, or dns:///NAME:PORT for all servers of the name "
        "(default: start one for this run; on deepstream, run Triton inside the graph)",
    )
    p.add_argument(
        "--model",
        help=f"model of the repository (default: {DEFAULT_MODEL}; on deepstream {DEFAULT_PLAN})",
    )
    add_repository(p)
    p.add_argument(
        "--infer-config",
        type=Path,
        metavar="FILE",
        help="deepstream: config of nvinferserver (default: generated from the model's card)",
    )
    p.add_argument(
        "--probabilities",
        action="store_true",
        help="deepstream: use the network's probabilities instead of nvinferserver's mask, for "
        "smoother edges; an own config needs output_tensor_meta",
    )
    add_drawing_options(p)
    add_control_options(p)
    add_record_options(p)
    p.add_argument("--json", type=Path, metavar="FILE", help="write the summary as JSON")
    p.add_argument(
        "--polyps", type=Path, metavar="FILE", help="write the polyps of each frame as JSON lines"
    )


def add_drawing_options(p: argparse.ArgumentParser) -> None:
    """Add the options for what is drawn on the picture."""
    p.add_argument(
        "--colour",
        default="00e5ff",
        metavar="RRGGBB",
        help="colour of the masks (default: %(default)s)",
    )
    p.add_argument(
        "--opacity",
        type=float,
        default=0.18,
        help="opacity of the fill, 0 to 1 (default: %(default)s)",
    )
    add_max_mask_age(p)
    p.add_argument(
        "--signs",
        action=argparse.BooleanOptionalAction,
        help="show on the picture whether the assistant works (default: in mode latest)",
    )
    p.add_argument(
        "--region",
        default="auto",
        metavar="X,Y,W,H",
        help="the scope's picture within the frame, as shares of it; nothing is marked outside. "
        "auto: find it, in videos; full: the whole frame (default: "
        "%(default)s)",
    )
    p.add_argument(
        "--confirmation",
        action=argparse.BooleanOptionalAction,
        help="mark an area only after it was seen for 80 ms, and for 120 ms longer than it is seen "
        "(default: unless the input is a folder of images)",
    )
    p.add_argument(
        "--smoothing",
        action=argparse.BooleanOptionalAction,
        help="average masks over 50 ms (default: unless the input is a folder of images)",
    )


def run(args: argparse.Namespace) -> int:
    """Run `xpnet run`; return 2 if the run did not complete as it should."""
    from deepstream.run import RunSettings
    from deepstream.run import run as run_graph
    from deepstream.run_summary import format_summary
    from xpnet.host.processes import limit_heaps
    from xpnet.overlay import OverlayStyle, parse_colour

    limit_heaps()
    # What exists now stays. Python then looks for cycles among few objects, often and fast; else
    # garbage waits long, and each search goes through all that was ever imported.
    gc.collect()
    gc.freeze()
    summary = run_graph(
        RunSettings(
            input=input_of(args),
            output=args.output,
            mode=args.mode,
            model=args.model or "",
            repository=args.repository,
            fps=args.fps,
            height=args.height,
            width=args.width,
            style=OverlayStyle(parse_colour(args.colour), args.opacity),
            max_mask_age_s=args.max_mask_age / 1000,
            signs=args.signs,
            smoothing=args.smoothing,
            confirmation=args.confirmation,
            region=args.region,
            control=control_settings(args),
            record=record_settings(args),
            json=args.json,
            polyps=args.polyps,
            platform=platform_settings(args),
        )
    )
    lines, failure = format_summary(summary)
    print("\n".join(lines))
    if failure:
        print(f"xpnet: {failure}", file=sys.stderr)
    return 2 if failure else 0


def input_of(args: argparse.Namespace) -> str:
    """Return the input; `demo` is the clip that comes with the project, in a wheel too."""
    is_demo = args.input == DEMO and not Path(DEMO).exists()
    return str(DEMO_CLIP) if is_demo else str(args.input)


def platform_settings(args: argparse.Namespace) -> Any:
    """Return the settings of the platform that the options name.

    Args:
        args: The options of `xpnet run`.

    Raises:
        UserError: An option belongs to the other platform.
    """
    if args.platform == GSTREAMER:
        from deepstream.platforms.gstreamer_platform import GStreamerSettings

        for name in ("interval", "infer_config", "probabilities"):
            if getattr(args, name):
                raise UserError(f"--{name.replace('_', '-')} belongs to --platform deepstream")
        return GStreamerSettings(args.backend, args.url)
    from deepstream.platforms.deepstream_platform import DeepStreamSettings

    return DeepStreamSettings(
        jetson=args.platform == JETSON,
        url=args.url,
        infer_config=args.infer_config,
        probabilities=args.probabilities,
        interval=args.interval,
    )


def add_graph(commands: Any) -> None:
    """Add `xpnet run graph`."""
    p = add_command(
        commands,
        "run graph",
        "print or draw the graph of a platform",
        "xpnet run graph docs/demo/colonoscopy.mp4 --platform deepstream",
        graph,
    )
    add_graph_options(p)
    p.add_argument(
        "--output",
        default="masks.mp4",
        help="as of `xpnet run`: file, 'screen', 'drm', rtsp://... (default: %(default)s); not "
        "written",
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


def graph(args: argparse.Namespace) -> int:
    """Run `xpnet run graph`; without a file to write it prints the gst-launch line."""
    from deepstream.graph.drawing import as_dot
    from deepstream.graph.pipeline import describe_graph
    from deepstream.io.output import SinkProperties, parse_output
    from deepstream.io.source import open_source
    from deepstream.platforms.deepstream_platform import frames_without_inference

    for path in (args.dot, args.picture):
        if path is not None:
            check_writable(path)
    check_distinct((args.dot, args.picture), (Path(args.input), Path(args.infer_config)))
    output = parse_output(args.output)
    plain = args.platform == GSTREAMER
    if plain and args.interval is not None:
        raise UserError("--interval belongs to --platform deepstream")
    description = describe_graph(
        args.platform,
        open_source(args.input, args.fps, args.height, args.width, plain),
        output.kind,
        SinkProperties(output.display_name, output.muxer, "RTP_PORT"),
        args.mode,
        infer_config=args.infer_config,
        hardware_encoder=not (plain or args.software_encoder),
        interval=0 if plain else frames_without_inference(args.interval, args.mode),
    )
    if args.dot is None and args.picture is None:
        print(f"gst-launch-1.0 {description.as_launch()}")
    if args.dot is not None:
        write_text(args.dot, as_dot(description))
    if args.picture is not None:
        draw(as_dot(description), args.picture)
    return 0


def draw(dot: str, picture: Path) -> None:
    """Draw DOT text with Graphviz.

    Args:
        dot: The text.
        picture: File to write; its suffix is one of PICTURES.

    Raises:
        UserError: Graphviz is missing or fails, or the suffix is another one.
    """
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
