"""Requests to the HTTP service of a run, for the command line."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any

from xpnet.addresses import open_directly
from xpnet.errors import UserError

TIMEOUT_S = 5.0


def request(
    address: str, token: str, values: Mapping[str, Any] | None, route: str = "settings"
) -> dict[str, Any]:
    """Change settings of a run, or read its state.

    Args:
        address: HOST:PORT of its service.
        token: The service's token; empty for none.
        values: New settings; None to read the state.
        route: Where values go: `settings` or `recorder`.

    Returns:
        What the route answers, such as the settings after the change; or the state.

    Raises:
        UserError: No run answers, or it refuses the request.
    """
    headers = {"Content-Type": "application/json"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    path, body = ("state", None) if values is None else (route, json.dumps(values).encode())
    asked = urllib.request.Request(f"http://{address}/{path}", body, headers)
    try:
        with open_directly(asked, TIMEOUT_S) as answer:
            result: dict[str, Any] = json.loads(answer.read())
            return result
    except urllib.error.HTTPError as error:
        raise UserError(f"the run at {address} refuses: {_reason(error)}") from error
    except (OSError, ValueError) as error:
        raise UserError(f"no run with --control answers at {address}: {error}") from error


def _reason(error: urllib.error.HTTPError) -> str:
    try:
        return str(json.loads(error.read())["error"])
    except (ValueError, KeyError, TypeError):
        return f"HTTP status {error.code}"
