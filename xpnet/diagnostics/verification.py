"""Runs the checks of all claims, one after another, and says of each what came of it."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Any

from xpnet.diagnostics.check_context import Site, Skipped
from xpnet.diagnostics.claims import CLAIMS, Claim
from xpnet.diagnostics.verification_report import (
    BROKEN,
    HELD,
    SKIPPED,
    Outcome,
    as_dict,
    machine_of,
    without_private,
)
from xpnet.errors import UserError

log = logging.getLogger("xpnet.diagnostics")


def verify(repository: Path, only: tuple[str, ...] = ()) -> dict[str, Any]:
    """Checks the claims, all or those of the ids `only`; see xpnet.diagnostics.verification_report.as_dict.

    Raises:
        UserError: an unknown id, or no such repository.
    """
    known = [claim.id for claim in CLAIMS]
    for name in only:
        if name not in known:
            raise UserError(f"claim '{name}': expected some of {', '.join(known)}")
    if not repository.is_dir():
        raise UserError(f"{repository}: no such model repository")
    site = Site(repository)
    try:
        machine = machine_of(site)
        outcomes = [outcome_of(c, site) for c in CLAIMS if not only or c.id in only]
    finally:
        site.close()
    return as_dict(machine, outcomes, site.figures)


def outcome_of(claim: Claim, site: Site) -> Outcome:
    """One claim. Whatever goes wrong in a check is its outcome: a report is always written."""
    log.info("%s: %s", claim.id, claim.how)
    start = time.perf_counter()
    try:
        held, found = claim.check(site)
        state = HELD if held else BROKEN
    except Skipped as reason:
        state, found = SKIPPED, str(reason)
    except UserError as error:
        state, found = BROKEN, str(error)
    except Exception as error:
        log.debug("", exc_info=error)
        state, found = BROKEN, f"{type(error).__name__}: {error}"
    log.info("%s: %s: %s", claim.id, state, without_private(found))
    return Outcome(claim, state, found, round(time.perf_counter() - start, 1))
