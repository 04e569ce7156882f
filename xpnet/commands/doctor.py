"""`xpnet info` and `xpnet doctor`: what is here, and what is missing."""

from __future__ import annotations

import argparse
import json
from typing import Any

from xpnet.commands.options import add_repository
from xpnet.errors import UserError


def add_info(commands: Any) -> None:
    """The options of `xpnet info`."""
    p = commands.add_parser("info", help="versions, networks and the cards of the models")
    p.add_argument("--json", action="store_true", help="as JSON")
    add_repository(p)
    p.set_defaults(command=info)


def add_doctor(commands: Any) -> None:
    """The options of `xpnet doctor`."""
    p = commands.add_parser("doctor", help="what is installed, what is missing, how to get it")
    p.add_argument("--json", action="store_true", help="as JSON")
    p.set_defaults(command=doctor)


def info(args: argparse.Namespace) -> int:
    """`xpnet info`."""
    from xpnet.host.versions import as_lines, cards, versions

    try:
        from training.bench.layer_counts import network_table

        networks = network_table()
    except ImportError:  # without torch there is nothing to count
        networks = None
    found = {"versions": versions(), "networks": networks, "models": cards(args.repository)}
    print(json.dumps(found, indent=2) if args.json else "\n".join(as_lines(found)))
    return 0


def doctor(args: argparse.Namespace) -> int:
    """`xpnet doctor`: 1 where something is missing that the demo needs."""
    from xpnet.host.installation import Check, as_json, checks

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
