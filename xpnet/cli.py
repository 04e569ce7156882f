"""The command line: what a command does stands in xpnet.commands; how it ends, here."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from xpnet import __version__
from xpnet.commands import (
    bench,
    build,
    deploy,
    doctor,
    doctor_verify,
    evaluate,
    export,
    run_graph,
    serve,
    train,
)
from xpnet.errors import UserError, first_process


def main(argv: list[str] | None = None) -> int:
    """Runs one command; returns 0 done, 2 wrong use or bad input, 1 anything else."""
    _open_standard_streams()
    args = parse(argv)
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


def _open_standard_streams() -> None:
    """Where a caller closed one: else the next file, a video perhaps, gets its number."""
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            os.dup2(os.open(os.devnull, os.O_RDWR), number)
            setattr(sys, name, open(number, mode, closefd=False))  # noqa: SIM115


def _interrupt(_signal: int, _frame: Any) -> None:
    raise KeyboardInterrupt


def _fail(args: argparse.Namespace, error: Exception, code: int) -> int:
    if args.debug:
        logging.getLogger("xpnet").debug("", exc_info=error)
    name = "" if isinstance(error, UserError) else f"{type(error).__name__}: "
    if not first_process():  # of a training on several devices: one of them says it
        return code
    print(f"xpnet: {name}{' '.join(str(error).split())}", file=sys.stderr)
    return code


def parse(argv: list[str] | None) -> argparse.Namespace:
    """Reads a command line; the key=value words of a training may stand anywhere in it."""
    parser = build_parser()
    args, rest = parser.parse_known_args(argv)
    if rest and (not hasattr(args, "override") or any(word.startswith("-") for word in rest)):
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    if rest:
        args.override += rest
    return args


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
        serve.add_run,
        serve.add_serve,
        run_graph.add_graph,
        evaluate.add_evaluate,
        evaluate.add_table,
        evaluate.add_curves,
        evaluate.add_panel,
        train.add_data,
        train.add_train,
        train.add_distill,
        train.add_ablation,
        export.add_export,
        export.add_precisions,
        export.add_tune,
        build.add_build,
        deploy.add_deploy,
        train.add_pack,
        bench.add_bench,
        doctor_verify.add_verify_target,
        doctor.add_info,
        doctor.add_doctor,
    ):
        add(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
