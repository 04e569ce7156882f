"""Run the checks of the claims, one after another."""

from __future__ import annotations

import logging
import time
from contextlib import closing
from pathlib import Path
from typing import Any

from xpnet.diagnostics.check_context import CheckContext, CheckSkipped
from xpnet.diagnostics.claims import CLAIMS, Claim
from xpnet.diagnostics.verification_report import (
    FAILED,
    PASSED,
    SKIPPED,
    Outcome,
    as_dict,
    describe_installation,
    hide_user_folders,
)
from xpnet.errors import UserError

log = logging.getLogger("xpnet.diagnostics")


def verify(repository: Path, only: tuple[str, ...] = ()) -> dict[str, Any]:
    """Check the claims of the documentation on this machine.

    Args:
        repository: The Triton model repository.
        only: Ids of the claims to check; empty for all.

    Returns:
        The report; see `xpnet.diagnostics.verification_report.as_dict`.

    Raises:
        UserError: An id is unknown, or there is no such repository.
    """
    known = [claim.id for claim in CLAIMS]
    for name in only:
        if name not in known:
            raise UserError(f"claim '{name}': expected some of {', '.join(known)}")
    if not repository.is_dir():
        raise UserError(f"{repository}: no such model repository")
    with closing(CheckContext(repository)) as context:
        machine = describe_installation(context)
        outcomes = [check_claim(c, context) for c in CLAIMS if not only or c.id in only]
    return as_dict(machine, outcomes, context.measured)


def check_claim(claim: Claim, context: CheckContext) -> Outcome:
    """Check one claim. An error in the check makes it FAILED: a report is always written.

    Args:
        claim: The claim.
        context: What the checks share.
    """
    log.info("%s: %s", claim.id, claim.how)
    start = time.perf_counter()
    try:
        passed, found = claim.check(context)
        state = PASSED if passed else FAILED
    except CheckSkipped as reason:
        state, found = SKIPPED, str(reason)
    except UserError as error:
        state, found = FAILED, str(error)
    except Exception as error:
        log.debug("", exc_info=error)
        state, found = FAILED, f"{type(error).__name__}: {error}"
    log.info("%s: %s: %s", claim.id, state, hide_user_folders(found))
    return Outcome(claim, state, found, round(time.perf_counter() - start, 1))
