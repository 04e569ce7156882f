"""`xpnet deploy`: files for NVIDIA's deepstream-app, written and checked."""

from __future__ import annotations

import argparse
import logging
import re
from pathlib import Path
from typing import Any

from xpnet.commands.options import add_command, add_repository
from xpnet.errors import UserError
from xpnet.paths import BUILD, plan_path
from xpnet.platforms import TARGETS

log = logging.getLogger("xpnet.deploy")


def add_deploy(commands: Any) -> None:
    """Add `xpnet deploy`."""
    p = add_command(
        commands,
        "deploy",
        "write files for deepstream-app, made from a model's card",
        "xpnet deploy --platform rtx --source /dev/video0 --sink screen --triton inprocess",
        deploy,
    )
    p.add_argument(
        "--platform", choices=tuple(TARGETS), help="rtx: a discrete GPU; jetson: a Jetson"
    )
    p.add_argument(
        "--source",
        action="append",
        default=[],
        metavar="SOURCE",
        help="file, /dev/videoN (V4L2, also SDI cards with such a driver) or rtsp://...; "
        "several: one tile for each",
    )
    p.add_argument(
        "--sink",
        action="append",
        default=[],
        metavar="SINK",
        help="screen, drm (Jetson without a desktop), rtsp[:PORT], or a file .mp4 or .mkv; "
        "may be repeated",
    )
    p.add_argument(
        "--triton",
        choices=("inprocess", "grpc", "none"),
        help="inprocess: the plan in the graph's process; grpc: in a separate server; none: with "
        "nvinfer",
    )
    p.add_argument("--url", help="Triton's gRPC for --triton grpc (default: 127.0.0.1:8001)")
    p.add_argument("--model", help="TensorRT plan: xpnet_lite (default) or xpnet")
    p.add_argument("--size", metavar="WxH", help="size of cameras and picture (default: 1920x1080)")
    p.add_argument("--fps", type=float, help="frame rate of cameras, such as 59.94 (default: 30)")
    p.add_argument(
        "--software-encoder",
        action="store_true",
        help="encode with x264; an Orin Nano has no hardware encoder",
    )
    p.add_argument(
        "--probabilities",
        action="store_true",
        help="nvinferserver also attaches the probability map, for a graph of your own",
    )
    p.add_argument(
        "--output",
        type=Path,
        default=BUILD / "deepstream",
        metavar="DIR",
        help="folder for the files (default: build/deepstream)",
    )
    p.add_argument(
        "--examples",
        action="store_true",
        help="write the files of deepstream/app_config/examples; without it and without --check, "
        "--platform, --source, --sink and --triton are required",
    )
    p.add_argument(
        "--check", type=Path, nargs="+", metavar="FILE", help="check these files and write nothing"
    )
    add_repository(p)


def deploy(args: argparse.Namespace) -> int:
    """Run `xpnet deploy`."""
    from deepstream.app_config.app_file import deployment_warnings
    from deepstream.app_config.config_check import ConfigChecker
    from deepstream.app_config.config_writer import write_deployments
    from deepstream.app_config.deployment import EXAMPLES

    if args.check:
        checker = ConfigChecker(args.repository)
        for path in args.check:
            print(checker.check(path))
        return 0
    deployments = list(EXAMPLES) if args.examples else [_deployment(args)]
    for path in write_deployments(deployments, args.output, args.repository):
        ConfigChecker(args.repository, require_plan=False).check(path)
        print(f"deepstream-app -c {path}")
    for warning in dict.fromkeys(w for d in deployments for w in deployment_warnings(d)):
        log.warning(warning)
    for model in dict.fromkeys(
        deployment.model for deployment in deployments if deployment.triton != "grpc"
    ):
        _warn_of_plan(args.platform or "rtx|jetson", model, args.repository)
    return 0


def _deployment(args: argparse.Namespace) -> Any:
    from deepstream.app_config.deployment import Deployment

    for name in ("platform", "source", "sink", "triton"):
        if not getattr(args, name):
            raise UserError(f"deploy needs --{name} (or --examples, or --check FILE)")
    if args.url is not None and args.triton != "grpc":
        raise UserError(f"--url belongs to --triton grpc, not to {args.triton}")
    options: dict[str, Any] = {
        name: getattr(args, name)
        for name in ("url", "model", "fps")
        if getattr(args, name) is not None
    }
    if args.size is not None:
        found = re.fullmatch(r"(\d+)x(\d+)", args.size)
        if found is None:
            raise UserError(f"--size {args.size}, expected WIDTHxHEIGHT as 1920x1080")
        options["width"], options["height"] = int(found[1]), int(found[2])
    return Deployment(
        args.platform,
        tuple(args.source),
        tuple(args.sink),
        args.triton,
        software_encoder=args.software_encoder,
        probabilities=args.probabilities,
        **options,
    )


def _warn_of_plan(platform: str, model: str, repository: Path) -> None:
    """Warn if the plan is missing; it is built on the target, while files can be written now."""
    from deepstream.app_config.infer_config import build_command

    if not plan_path(repository / model).is_file():
        log.warning("no TensorRT plan yet; on the target: %s", build_command(model, platform))
