"""`xpnet run --control` and `xpnet run set`: watch and control a run by HTTP."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from xpnet.addresses import LOOPBACK, check_port
from xpnet.commands.options import add_command
from xpnet.errors import UserError


def add_control_options(p: argparse.ArgumentParser) -> None:
    """Add `--control` and what belongs to it."""
    p.add_argument(
        "--control",
        metavar="[HOST:]PORT",
        help="watch and control the run by HTTP, with a page (default host: 127.0.0.1)",
    )
    p.add_argument(
        "--control-token-file",
        type=Path,
        metavar="FILE",
        help="file with the token that clients of --control must send; required for another host",
    )
    p.add_argument(
        "--settings",
        type=Path,
        metavar="FILE",
        help="with --control: where choices are saved (default: ~/.config/xpnet/overlay.json)",
    )


def control_settings(args: argparse.Namespace) -> Any:
    """Return the settings of `--control`, or None without it.

    Args:
        args: The options of `xpnet run`.

    Raises:
        UserError: A port that is none, an unreadable token, or an option without `--control`.
    """
    from deepstream.control.http_service import ServiceSettings
    from deepstream.control.service import ControlSettings

    if args.control is None:
        for name in ("control_token_file", "settings"):
            if getattr(args, name) is not None:
                raise UserError(f"--{name.replace('_', '-')} belongs to --control")
        return None
    host, port = parse_address(args.control)
    service = ServiceSettings(host, port, read_token(args.control_token_file))
    return ControlSettings(service, args.settings)


def parse_address(text: str) -> tuple[str, int]:
    """Return host and port of the value of `--control`; port 0 is a free one.

    Args:
        text: [HOST:]PORT.

    Raises:
        UserError: The port is none.
    """
    host, _, port = text.rpartition(":")
    number = 0 if port == "0" else check_port(port, f"--control {text}")
    return host or LOOPBACK[0], number


def read_token(path: Path | None) -> str:
    """Return the token in a file, or an empty one without a file. Raises UserError."""
    if path is None:
        return ""
    try:
        token = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read as a token: {error}") from error
    if not token:
        raise UserError(f"{path}: is empty, expected a token")
    return token


def add_set(commands: Any) -> None:
    """Add `xpnet run set`."""
    p = add_command(
        commands,
        "run set",
        "change what a run with --control draws; without a setting, print its state",
        "xpnet run set --control 8080 enabled=false",
        change,
    )
    p.add_argument(
        "values",
        nargs="*",
        metavar="NAME=VALUE",
        help="enabled=true|false, shape=fill|contour|corners, opacity=0..1, threshold=0..1|card, "
        "colour=RRGGBB, signs, smoothing, confirmation=true|false, "
        "region=auto|full|X,Y,W,H",
    )
    _add_service_options(p)


def add_record_options(p: argparse.ArgumentParser) -> None:
    """Add `--record` and what belongs to it."""
    p.add_argument(
        "--record",
        type=Path,
        metavar="FOLDER",
        help="allow recordings and stills of what is shown, in this folder; nothing is written "
        "until it is asked for (with --control)",
    )
    p.add_argument(
        "--record-at-start", action="store_true", help="with --record: record the whole run"
    )
    p.add_argument(
        "--ring",
        type=float,
        default=0.0,
        metavar="SECONDS",
        help="with --record: keep the last seconds in memory, to be written on request "
        "(default: 0, none)",
    )
    p.add_argument(
        "--record-reserve",
        type=int,
        default=1024,
        metavar="MIB",
        help="with --record: space of the disk that stays free (default: %(default)s)",
    )


def record_settings(args: argparse.Namespace) -> Any:
    """Return the settings of `--record`, or None without it.

    Args:
        args: The options of `xpnet run`.

    Raises:
        UserError: A value is out of range, or an option without `--record`.
    """
    from deepstream.recording.recorder import RecordSettings

    if args.record is None:
        if args.ring or args.record_at_start:
            raise UserError("--ring and --record-at-start belong to --record")
        return None
    if args.control is None and not args.record_at_start:
        raise UserError("--record: expected --control, by which it is asked for, or "
                        "--record-at-start")  # fmt: skip
    return RecordSettings(args.record, args.ring, args.record_reserve, args.record_at_start)


def add_record(commands: Any) -> None:
    """Add `xpnet run record`."""
    p = add_command(
        commands,
        "run record",
        "start or stop a recording of a run, keep its last seconds, or save a still",
        "xpnet run record start --control 8080",
        record,
    )
    p.add_argument(
        "action",
        choices=("start", "stop", "keep", "still"),
        help="start or stop a recording; keep the last seconds of --ring as a file; save one frame",
    )
    _add_service_options(p)


def record(args: argparse.Namespace) -> int:
    """Run `xpnet run record`."""
    return _ask(args, {"action": args.action}, "recorder")


def change(args: argparse.Namespace) -> int:
    """Run `xpnet run set`."""
    from deepstream.control.appearance import parse_settings

    return _ask(args, parse_settings(args.values) or None)


def _add_service_options(p: argparse.ArgumentParser) -> None:
    """Add the options that say which run is asked."""
    p.add_argument(
        "--control",
        default="8080",
        metavar="[HOST:]PORT",
        help="of the run (default: %(default)s)",
    )
    p.add_argument("--control-token-file", type=Path, metavar="FILE", help="the run's token")


def _ask(args: argparse.Namespace, values: dict[str, Any] | None, route: str = "settings") -> int:
    """Ask a run's service, and print its answer.

    Args:
        args: Values of the options of `_add_service_options`.
        values: What is sent; None to read the run's state.
        route: Where it is sent: `settings` or `recorder`.

    Returns:
        The exit code.

    Raises:
        UserError: The port is none, the token cannot be read, or the service refuses.
    """
    from deepstream.control.client import request

    host, port = parse_address(args.control)
    token = read_token(args.control_token_file)
    print(json.dumps(request(f"{host}:{port}", token, values, route), indent=2))
    return 0
