"""`xpnet doctor` and its further commands: what is installed, and whether it works."""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

from xpnet.commands.options import add_command, add_repository
from xpnet.errors import UserError
from xpnet.files import check_writable
from xpnet.paths import BUILD, IN_CHECKOUT, ROOT

GSTREAMER_HINT = "apt packages and a venv with --system-site-packages: docs/install.md"
"""For an installed wheel; in a checkout scripts/setup.sh installs GStreamer."""


def add_info(commands: Any) -> None:
    """Add `xpnet doctor info`."""
    p = add_command(
        commands,
        "doctor info",
        "print versions, networks and model cards",
        "xpnet doctor info --json",
        info,
    )
    p.add_argument("--json", action="store_true", help="as JSON")
    add_repository(p)


def add_doctor(commands: Any) -> None:
    """Add `xpnet doctor`."""
    p = add_command(
        commands,
        "doctor",
        "list what is installed, what is missing and how to install it",
        "xpnet doctor",
        doctor,
    )
    p.add_argument("--json", action="store_true", help="as JSON")


def info(args: argparse.Namespace) -> int:
    """Run `xpnet doctor info`."""
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
    """Run `xpnet doctor`: 1 where something is missing that the demo needs."""
    from xpnet.host.installation import Check, as_json, checks

    needed, how = "xpnet run", "scripts/setup.sh" if IN_CHECKOUT else GSTREAMER_HINT
    try:
        from deepstream.gstreamer import Gst, missing_elements

        missing = ", ".join(f"{e} ({p})" for e, p in missing_elements().items())
        gst = Check("GStreamer", not missing, missing or Gst.version_string(), needed, how)
    except UserError as error:
        gst = Check("GStreamer", False, str(error), needed, how)
    found = [*checks(), gst]
    print(json.dumps(as_json(found), indent=2) if args.json else "\n".join(c.line() for c in found))
    return 0 if all(c.ok for c in found if c.required) else 1


def add_checksums(commands: Any) -> None:
    """Add `xpnet doctor checksums`."""
    p = add_command(
        commands,
        "doctor checksums",
        "compare the included weights, models and cards with the list of their checksums",
        "xpnet doctor checksums",
        checksums,
    )
    p.add_argument(
        "--write", action="store_true", help="make the list from the files that are there"
    )
    p.add_argument(
        "--verify-signature",
        type=Path,
        metavar="ALLOWED_SIGNERS",
        help="also check the signature of the list; the file names the accepted keys, see "
        "ssh-keygen(1)",
    )


def checksums(args: argparse.Namespace) -> int:
    """Run `xpnet doctor checksums`."""
    from xpnet.checksums import CHECKSUMS, as_text, current_checksums, differences
    from xpnet.files import write_text
    from xpnet.host.signature import verify_signature

    if args.write and args.verify_signature:
        raise UserError("--write makes a new list, whose signature cannot be checked yet")
    signer = verify_signature(CHECKSUMS, args.verify_signature) if args.verify_signature else ""
    start = time.monotonic()
    found = current_checksums()
    seconds = time.monotonic() - start
    if args.write:
        write_text(CHECKSUMS, as_text(found))
    elif lines := differences(found):
        raise UserError("; ".join(lines))
    size = sum((ROOT / name).stat().st_size for name in found) / 1e6
    state = "written" if args.write else f"as listed{f', signed by {signer}' if signer else ''}"
    print(f"{CHECKSUMS}: {len(found)} files, {size:.1f} MB, {state}; hashed in {seconds:.2f} s")
    return 0


def add_verify(commands: Any) -> None:
    """Add `xpnet doctor verify`."""
    p = add_command(
        commands,
        "doctor verify",
        "check the claims of the documentation on this machine and write a report",
        "xpnet doctor verify --output build/verification.md",
        verify,
    )
    p.add_argument(
        "--output",
        type=Path,
        default=BUILD / "verification.md",
        metavar="FILE.md",
        help="report; also written as JSON beside it (default: build/verification.md)",
    )
    p.add_argument("--only", nargs="+", default=[], metavar="ID", help="check only these claims")
    p.add_argument("--list", action="store_true", help="list the claims and exit")
    p.add_argument(
        "--store-masks",
        action="store_true",
        help="compute the reference masks again, after new weights, and exit",
    )
    add_repository(p)


def verify(args: argparse.Namespace) -> int:
    """Run `xpnet doctor verify`; exit code 1 if a check failed."""
    from xpnet.diagnostics.claims import CLAIMS
    from xpnet.diagnostics.reference_masks import store_reference_masks
    from xpnet.diagnostics.verification import verify as verify_claims
    from xpnet.diagnostics.verification_report import FAILED, write_report

    if args.list:
        for claim in CLAIMS:
            print(f"{claim.id:<25}{claim.sentence} ({claim.page})")
        return 0
    if args.store_masks:
        models = sorted(p.parents[1].name for p in args.repository.glob("*/1/model.onnx"))
        if not models:
            raise UserError(f"{args.repository}: contains no ONNX model, expected one or more")
        for path in store_reference_masks(args.repository, tuple(models)):
            print(path)
        return 0
    if args.output.suffix != ".md":
        raise UserError(f"{args.output}: expected a name that ends in .md")
    if args.output.parent.resolve() == BUILD.resolve() and not BUILD.exists():
        BUILD.mkdir()  # for the default and the example, right after the installation
    for path in (args.output, args.output.with_suffix(".json")):
        check_writable(path)
    found = verify_claims(args.repository, tuple(args.only))
    write_report(found, args.output)
    for claim in found["claims"]:
        print(f"{claim['state']:<10}{claim['id']:<25}{claim['found']}")
    print(f"report: {args.output}")
    return 1 if any(claim["state"] == FAILED for claim in found["claims"]) else 0
