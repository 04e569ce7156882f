"""`xpnet run` and `xpnet serve`: masks on a clip, and the server that computes them."""

from __future__ import annotations

import argparse
import time
from typing import Any

from xpnet.commands.options import add_command, add_repository
from xpnet.errors import UserError
from xpnet.serving.triton_server import HOST, ServerSettings, running_server


def add_serve(commands: Any) -> None:
    """Add `xpnet serve`."""
    p = add_command(
        commands,
        "serve",
        "serve the model repository with Triton",
        "xpnet serve --model xpnet_lite_onnx",
        serve,
    )
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
    p.add_argument(
        "--max-connection-age", type=_seconds, default=0, metavar="SECONDS",
        help="clients connect again after this time, so that new servers behind the same address "
        "get a share (default: never)",
    )  # fmt: skip


def _seconds(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= 86400):
        raise argparse.ArgumentTypeError(f"{text}: expected 1 to 86400 seconds")
    return int(text)


def serve(args: argparse.Namespace) -> int:
    """Run `xpnet serve`: until Ctrl-C or the server's own end."""
    settings = ServerSettings(
        args.repository, tuple(args.model), args.host, args.http_port, args.grpc_port,
        args.metrics_port, args.max_connection_age,
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
        raise UserError(f"tritonserver ended by itself: {server.describe_exit()}")
