"""The command line: one function a command, each importing its package when it runs."""

from __future__ import annotations

import argparse
import json
import logging
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from xpnet import __version__
from xpnet.errors import UserError, require
from xpnet.files import check_writable, write_text
from xpnet.triton.server import HOST, REPOSITORY, ROOT, ServerSettings, running_server

TRAIN_HINT = "scripts/setup.sh --train"


def main(argv: list[str] | None = None) -> int:
    """Runs one command; returns 0 done, 2 wrong use or bad input, 1 anything else."""
    args = build_parser().parse_args(argv)
    logging.basicConfig(
        level=logging.DEBUG if args.debug else logging.INFO,
        format="%(name)s: %(message)s",
        stream=sys.stderr,
    )
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:  # nohup means it
            signal.signal(number, _interrupt)
    command: Callable[[argparse.Namespace], int] = args.command
    try:
        code = command(args)
        sys.stdout.flush()
        return code
    except UserError as error:
        return _fail(args, error, 2)
    except BrokenPipeError:  # `xpnet info | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        return _fail(args, UserError("interrupted"), 1)
    except Exception as error:
        return _fail(args, error, 1)


def _interrupt(_signal: int, _frame: Any) -> None:
    raise KeyboardInterrupt


def _fail(args: argparse.Namespace, error: Exception, code: int) -> int:
    if args.debug:
        logging.getLogger("xpnet").debug("", exc_info=error)
    name = "" if isinstance(error, UserError) else f"{type(error).__name__}: "
    print(f"xpnet: {name}{' '.join(str(error).split())}", file=sys.stderr)
    return code


def build_parser() -> argparse.ArgumentParser:
    """The parser of `xpnet`."""
    parser = argparse.ArgumentParser(
        prog="xpnet",
        description="Polyp segmentation live on endoscope video. Not a medical device.",
    )
    parser.add_argument("--version", action="version", version=f"xpnet {__version__}")
    parser.add_argument("--debug", action="store_true", help="show every step and error traces")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for add in (
        _add_run,
        _add_serve,
        _add_evaluate,
        _add_train,
        _add_export,
        _add_info,
        _add_doctor,
    ):
        add(commands)
    return parser


def _add_run(commands: Any) -> None:
    p = commands.add_parser("run", help="a clip in, the clip with masks out")
    p.add_argument("input", type=Path, help="a video file, or a folder of images")
    p.add_argument("--output", type=Path, required=True, help="file to write, .mp4 or .mkv")
    p.add_argument(
        "--mode",
        choices=("every", "latest"),
        default="every",
        help="every: each frame waits for its own mask; latest: the clip's rate, "
        "the newest mask on every frame (default: every)",
    )
    p.add_argument(
        "--backend",
        choices=("triton", "onnxruntime"),
        default="triton",
        help="where inference runs; onnxruntime: in this process (default: triton)",
    )
    p.add_argument(
        "--url",
        default="",
        metavar="HOST:PORT",
        help="gRPC address of a running Triton (default: start one for this run)",
    )
    p.add_argument("--model", default="xpnet_onnx", help="model of the repository")
    _add_repository(p)
    p.add_argument("--fps", type=float, default=25.0, help="rate of a folder of images")
    p.add_argument("--colour", default="00e5ff", metavar="RRGGBB", help="colour of the masks")
    p.add_argument("--opacity", type=float, default=0.18, help="of the fill, 0 to 1")
    p.add_argument("--json", type=Path, metavar="FILE", help="write the summary as JSON")
    p.set_defaults(command=run)


def _add_serve(commands: Any) -> None:
    p = commands.add_parser("serve", help="serve the model repository with Triton")
    _add_repository(p)
    p.add_argument(
        "--model",
        action="append",
        default=[],
        metavar="NAME",
        help="serve this model only; may be repeated (default: all that are there)",
    )
    p.add_argument("--host", default=HOST, help="address to listen on (default: %(default)s)")
    p.add_argument("--http-port", type=int, default=8000)
    p.add_argument("--grpc-port", type=int, default=8001)
    p.add_argument("--metrics-port", type=int, default=8002)
    p.set_defaults(command=serve)


def _add_evaluate(commands: Any) -> None:
    p = commands.add_parser("evaluate", help="score a model on frames with masks")
    p.add_argument("--images", type=Path, required=True, help="folder of frames")
    p.add_argument("--masks", type=Path, required=True, help="folder of masks, paired by stem")
    p.add_argument("--index", type=Path, help="CSV with the columns stem and split")
    p.add_argument("--split", help="score this split of the index only")
    p.add_argument(
        "--onnx",
        type=Path,
        default=REPOSITORY / "xpnet_onnx" / "1" / "model.onnx",
        help="model to run in this process (default: the one that is served)",
    )
    p.add_argument(
        "--url",
        default="",
        metavar="HOST:PORT",
        help="score the model that a running Triton serves, instead",
    )
    p.add_argument("--model", default="xpnet_onnx", help="name of the served model")
    _add_repository(p)
    p.add_argument("--json", type=Path, metavar="FILE", help="write the scores as JSON")
    p.add_argument("--card", type=Path, help="record the scores in this card, under --name")
    p.add_argument("--name", help="name of the data set in the card")
    p.set_defaults(command=evaluate)


def _add_train(commands: Any) -> None:
    p = commands.add_parser("train", help="train one network (needs the train extra)")
    p.add_argument("network", choices=("student", "teacher", "unet", "teacher3", "lite"))
    p.add_argument("--config", type=Path, default=ROOT / "training" / "configs" / "cpu.yaml")
    p.add_argument("override", nargs="*", metavar="key=value", help="settings over the file's")
    p.set_defaults(command=train)


def _add_export(commands: Any) -> None:
    p = commands.add_parser("export", help="weights to ONNX and into the model repository")
    p.add_argument("weights", type=Path, help="safetensors file with its card beside it")
    p.add_argument("--output", type=Path, help="write this ONNX file only, no repository")
    p.add_argument("--size", type=int, help="height and width in pixels (default: the card's)")
    p.add_argument(
        "--plan-size",
        type=int,
        help="height and width of the TensorRT plan (default: as the ONNX model)",
    )
    _add_repository(p)
    p.add_argument(
        "--frames",
        type=Path,
        default=ROOT / "docs" / "demo" / "colonoscopy.mp4",
        help="clip on whose frames torch and ONNX are compared",
    )
    p.set_defaults(command=export)


def _add_info(commands: Any) -> None:
    p = commands.add_parser("info", help="versions, networks and the cards of the models")
    p.add_argument("--json", action="store_true", help="as JSON")
    _add_repository(p)
    p.set_defaults(command=info)


def _add_doctor(commands: Any) -> None:
    p = commands.add_parser("doctor", help="what is installed, what is missing, how to get it")
    p.add_argument("--json", action="store_true", help="as JSON")
    p.set_defaults(command=doctor)


def _add_repository(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--repository",
        type=Path,
        default=REPOSITORY,
        help="Triton model repository (default: triton_models)",
    )


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
            model=args.model,
            repository=args.repository,
            fps=args.fps,
            json=args.json,
            style=OverlayStyle(parse_colour(args.colour), args.opacity),
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


def evaluate(args: argparse.Namespace) -> int:
    """`xpnet evaluate`."""
    from training.evaluation import as_lines, check_same_weights, record
    from training.evaluation import evaluate as score
    from training.pairs import find_pairs
    from xpnet.card import read_card
    from xpnet.inference import OnnxInference
    from xpnet.triton.client import TritonInference

    if bool(args.card) != bool(args.name):
        raise UserError("--card and --name go together")
    if args.split and not args.index:
        raise UserError("--split needs --index")
    if args.json:
        check_writable(args.json)
    pairing = find_pairs(args.images, args.masks, args.index, args.split)
    if args.url:
        card = read_card(args.repository / args.model / "card.json")
        inference: Any = TritonInference(args.url, args.model, card)
    else:
        inference = OnnxInference(args.onnx)
    try:
        if args.card:
            check_same_weights(inference.card, args.card)
        scores = score(inference, pairing)
    finally:
        inference.close()
    print("\n".join(as_lines(scores)))
    if args.json:
        write_text(args.json, json.dumps(scores, indent=2) + "\n")
    if args.card:
        record(scores, args.card, args.name)
    return 0


def train(args: argparse.Namespace) -> int:
    """`xpnet train`."""
    try:
        from training.settings import read_settings
        from training.supervised import Trainer
    except ImportError as error:
        raise require(str(error.name), "training", TRAIN_HINT) from error
    output, network = f"output=build/training/{args.network}", f"network={args.network}"
    print(Trainer(read_settings(args.config, [output, *args.override, network])).run())
    return 0


def export(args: argparse.Namespace) -> int:
    """`xpnet export`."""
    try:
        from training.export import export_onnx, export_repository, load_network, sample_frames
    except ImportError as error:
        raise require(str(error.name), "export", TRAIN_HINT) from error
    network, card = load_network(args.weights)
    if args.size is not None:
        card = card.at_size(args.size, args.size)
    frames = sample_frames(args.frames)
    if args.output:
        difference = export_onnx(network, card, frames, args.output)
        print(f"{args.output}: largest difference from torch {difference:.1e}")
    else:
        plan_size = card.input.height if args.plan_size is None else args.plan_size
        difference = export_repository(network, card, frames, args.repository, plan_size)
        print(f"{args.repository}: largest difference from torch {difference:.1e}")
    return 0


def info(args: argparse.Namespace) -> int:
    """`xpnet info`."""
    from xpnet.info import as_lines, cards, versions

    try:
        from training.counts import network_table

        networks = network_table()
    except ImportError:  # without torch there is nothing to count
        networks = None
    found = {"versions": versions(), "networks": networks, "models": cards(args.repository)}
    print(json.dumps(found, indent=2) if args.json else "\n".join(as_lines(found)))
    return 0


def doctor(args: argparse.Namespace) -> int:
    """`xpnet doctor`: 1 where something is missing that the demo needs."""
    from xpnet.doctor import Check, as_json, checks

    needed, how = "xpnet run", "scripts/setup.sh"
    try:
        from deepstream.gstreamer import Gst, missing_elements

        missing = ", ".join(f"{e} ({p})" for e, p in missing_elements().items())
        gst = Check("GStreamer", not missing, missing or Gst.version_string(), needed, how)
    except UserError as error:
        gst = Check("GStreamer", False, str(error), needed, how)
    found = [*checks(), gst]
    print(json.dumps(as_json(found), indent=2) if args.json else "\n".join(c.line() for c in found))
    return 0 if all(c.ok for c in found if c.required) else 1


if __name__ == "__main__":
    sys.exit(main())
