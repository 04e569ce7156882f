"""`xpnet run` and `xpnet serve`: masks on a clip, and the server that computes them."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

from xpnet.commands.options import add_graph_options, add_repository
from xpnet.errors import UserError
from xpnet.platforms import GRAPHS, GSTREAMER
from xpnet.serving.cpu_runtimes import RUNTIMES
from xpnet.serving.model_config import DEFAULT_MODEL, DEFAULT_PLAN
from xpnet.serving.triton_server import HOST, ServerSettings, running_server


def add_run(commands: Any) -> None:
    """The options of `xpnet run`."""
    p = commands.add_parser("run", help="a clip in, the clip with masks out")
    add_graph_options(p)
    p.add_argument(
        "--output",
        required=True,
        help="file to write, .mp4 or .mkv; 'screen'; or rtsp://HOST:PORT/NAME to serve at",
    )
    p.add_argument(
        "--platform",
        choices=GRAPHS,
        default=GSTREAMER,
        help="deepstream: NVIDIA's elements and pyds; deepstream-jetson: the same where a Jetson "
        "does not show itself, as in some containers (default: %(default)s)",
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
        help="gRPC address of a running Triton (default: start one for this run; on deepstream, "
        "serve in the graph's own process)",
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
        help="deepstream: nvinferserver's config (default: made from the model's card)",
    )
    p.add_argument(
        "--probabilities",
        action="store_true",
        help="deepstream: take the network's probabilities, not nvinferserver's mask: smoother "
        "edges; a config of your own needs output_tensor_meta for it",
    )
    p.add_argument(
        "--colour", default="00e5ff", metavar="RRGGBB", help="of the masks (default: %(default)s)"
    )
    p.add_argument(
        "--opacity", type=float, default=0.18, help="of the fill, 0 to 1 (default: %(default)s)"
    )
    p.add_argument("--json", type=Path, metavar="FILE", help="write the summary as JSON")
    p.add_argument(
        "--polyps", type=Path, metavar="FILE", help="write the polyps of each frame as JSON lines"
    )
    p.set_defaults(command=run)


def add_serve(commands: Any) -> None:
    """The options of `xpnet serve`."""
    p = commands.add_parser("serve", help="serve the model repository with Triton")
    add_repository(p)
    p.add_argument(
        "--model",
        action="append",
        default=[],
        metavar="NAME",
        help="serve this model only; may be repeated (default: all that are there)",
    )
    p.add_argument("--host", default=HOST, help="address to listen on (default: %(default)s)")
    for name, port in (("http", 8000), ("grpc", 8001), ("metrics", 8002)):
        p.add_argument(
            f"--{name}-port", type=int, default=port, metavar="PORT",
            help="0 takes a free one (default: %(default)s)",
        )  # fmt: skip
    p.set_defaults(command=serve)


def run(args: argparse.Namespace) -> int:
    """`xpnet run`."""
    from deepstream.run import RunSettings, describe
    from deepstream.run import run as run_graph
    from xpnet.overlay import OverlayStyle, parse_colour

    summary = run_graph(
        RunSettings(
            input=args.input,
            output=args.output,
            mode=args.mode,
            backend=args.backend,
            url=args.url,
            model=args.model or (DEFAULT_MODEL if args.platform == GSTREAMER else DEFAULT_PLAN),
            repository=args.repository,
            fps=args.fps,
            json=args.json,
            style=OverlayStyle(parse_colour(args.colour), args.opacity),
            platform=args.platform,
            height=args.height,
            width=args.width,
            polyps=args.polyps,
            infer_config=args.infer_config,
            interval=args.interval,
            tensors=args.probabilities,
        )
    )
    lines, failure = describe(summary)
    print("\n".join(lines))
    if failure:
        print(f"xpnet: {failure}", file=sys.stderr)
    return 2 if failure else 0


def serve(args: argparse.Namespace) -> int:
    """`xpnet serve`: until Ctrl-C or the server's own end."""
    settings = ServerSettings(
        args.repository, tuple(args.model), args.host, args.http_port, args.grpc_port,
        args.metrics_port,
    )  # fmt: skip
    with running_server(settings) as server:
        try:
            print(f"serving {', '.join(server.models)}")
            print(f"  http    {server.http_url}\n  grpc    {server.grpc_url}")
            print(f"  metrics http://{server.metrics_url}/metrics\nCtrl-C stops it.", flush=True)
            while not server.ended():
                time.sleep(0.5)
        except KeyboardInterrupt:
            print("stopping")
            return 0
        raise UserError(f"tritonserver ended by itself: {server.how_it_ended()}")
