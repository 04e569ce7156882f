"""The command line: parsing, exit codes and error lines; the commands are in xpnet.commands."""

from __future__ import annotations

import argparse
import io
import logging
import os
import signal
import sys
from collections.abc import Callable, Collection

from xpnet import __version__
from xpnet.commands import (
    archive,
    bench,
    bench_archive,
    bench_check,
    bench_graph,
    bench_live,
    bench_training,
    build,
    control,
    deploy,
    distill,
    doctor,
    evaluate,
    export,
    run,
    serve,
    train,
)
from xpnet.errors import UserError, is_rank_zero
from xpnet.host.interrupts import interrupt

ADDERS = (
    run.add_run,
    run.add_graph,
    archive.add_archive,
    control.add_set,
    control.add_record,
    serve.add_serve,
    evaluate.add_evaluate,
    evaluate.add_panel,
    evaluate.add_table,
    evaluate.add_curves,
    evaluate.add_tradeoff,
    evaluate.add_reflexes,
    train.add_train,
    train.add_check_data,
    train.add_ablation,
    train.add_folds,
    train.add_table,
    train.add_peers,
    distill.add_distill,
    export.add_export,
    export.add_precisions,
    export.add_tune,
    export.add_pack,
    build.add_build,
    deploy.add_deploy,
    bench.add_bench,
    bench.add_server,
    bench.add_network,
    bench_training.add_training,
    bench.add_roofline,
    bench_live.add_soak,
    bench_live.add_faults,
    bench_live.add_steadiness,
    bench.add_tegrastats,
    bench_graph.add_graph_bench,
    bench_graph.add_device,
    bench_archive.add_archive_bench,
    bench_check.add_check,
    doctor.add_doctor,
    doctor.add_info,
    doctor.add_checksums,
    doctor.add_verify,
)
"""Each adds one command to the parser."""


def main(argv: list[str] | None = None) -> int:
    """Run one command; return 0 for done, 2 for wrong use or bad input, 1 for any other error.

    Args:
        argv: The words after `xpnet`; None takes those of this process.
    """
    _open_standard_streams()
    args = parse(argv)
    logging.basicConfig(
        level=logging.DEBUG if args.debug else logging.INFO,
        format="%(name)s: %(message)s",
        stream=sys.stderr,
    )
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:  # nohup ignores it on purpose
            signal.signal(number, interrupt)
    command: Callable[[argparse.Namespace], int] = args.command
    try:
        code = command(args)
        sys.stdout.flush()
        return code
    except UserError as error:
        return _fail(args, error, 2)
    except BrokenPipeError:  # `xpnet doctor info | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        return _fail(args, UserError("interrupted"), 1)
    except Exception as error:
        return _fail(args, error, 1)


def _open_standard_streams() -> None:
    """Open closed standard streams: otherwise the next file, maybe a video, gets their number."""
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            os.dup2(os.open(os.devnull, os.O_RDWR), number)
            setattr(sys, name, open(number, mode, closefd=False))  # noqa: SIM115
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        # A file name that the terminal cannot show must not fail a run that is done
        sys.stdout.reconfigure(errors="backslashreplace")


def _fail(args: argparse.Namespace, error: Exception, code: int) -> int:
    if args.debug:
        logging.getLogger("xpnet").debug("", exc_info=error)
    name = "" if isinstance(error, UserError) else f"{type(error).__name__}: "
    if not is_rank_zero():  # of a training on several devices, only one process prints
        return code
    print(f"xpnet: {name}{' '.join(str(error).split())}", file=sys.stderr)
    return code


def parse(argv: list[str] | None) -> argparse.Namespace:
    """Parse a command line.

    Two words that name a command together, such as `run graph`, are joined before parsing. The
    key=value words of a training may be anywhere on the line.

    Args:
        argv: The words after `xpnet`; None takes those of this process.

    Returns:
        The options; `command` is the function to call.
    """
    parser = build_parser()
    words = list(sys.argv[1:] if argv is None else argv)
    args, rest = parser.parse_known_args(join_command(words, command_names(parser)))
    if rest and (not hasattr(args, "override") or any(word.startswith("-") for word in rest)):
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    if rest:
        args.override += rest
    return args


def join_command(words: list[str], names: Collection[str]) -> list[str]:
    """Join the first two words that are no options if together they name a command."""
    first = next((i for i, word in enumerate(words) if not word.startswith("-")), len(words))
    pair = " ".join(words[first : first + 2])
    return [*words[:first], pair, *words[first + 2 :]] if pair in names else words


def command_names(parser: argparse.ArgumentParser) -> list[str]:
    """Return the names of all commands, of one word or two, in the order of `--help`."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return list(action.choices)
    raise AssertionError("the parser has no commands")


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of `xpnet`."""
    parser = argparse.ArgumentParser(
        prog="xpnet",
        description="Polyp segmentation live on endoscope video. Not a medical device.",
    )
    parser.add_argument("--version", action="version", version=f"xpnet {__version__}")
    parser.add_argument("--debug", action="store_true", help="show every step and error traces")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for add in ADDERS:
        add(commands)
    for name, command in commands.choices.items():
        further = [f"xpnet {other}" for other in commands.choices if other.startswith(f"{name} ")]
        if further:
            command.epilog = f"{command.epilog}\n\nfurther commands:\n  " + "\n  ".join(further)
    return parser


if __name__ == "__main__":
    sys.exit(main())
