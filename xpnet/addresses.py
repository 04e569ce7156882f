"""Addresses of cameras, servers and viewers: validation, and display without credentials."""

from __future__ import annotations

import re
import urllib.request
from typing import Any

from xpnet.errors import UserError

LOOPBACK = ("127.0.0.1", "localhost", "[::1]")


def without_credentials(address: str) -> str:
    """Return an address for display, without user, password and query.

    A camera's password is before the `@` or in the query, and may be unescaped: everything up to
    the last `@` is removed.

    Args:
        address: Any address.
    """
    scheme, separator, rest = address.partition("://")
    if not separator:
        return address
    return f"{scheme}://{re.split('[?#]', rest.rpartition('@')[2])[0]}"


def open_directly(request: str | urllib.request.Request, timeout_s: float) -> Any:
    """Send an HTTP request without a proxy: a configured one would receive what is for a cart.

    Args:
        request: The address, or a request.
        timeout_s: Longest wait in seconds.

    Returns:
        The answer, to be used in a `with` block.

    Raises:
        OSError: Nothing answers, or with an error status (urllib.error.HTTPError).
    """
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    return opener.open(request, timeout=timeout_s)


def check_port(text: str, where: str) -> int:
    """Return the number of a port.

    Args:
        text: The port.
        where: What contains it, for the message.

    Raises:
        UserError: It is not a port number.
    """
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= 65535):
        raise UserError(f"{where}: port {text or 'missing'}, expected 1 to 65535")
    return int(text)


def check_server(url: str, where: str) -> None:
    """Check that a server's address is HOST:PORT.

    Args:
        url: The address.
        where: What contains it, for the message.

    Raises:
        UserError: It has another form.
    """
    host, _, port = url.rpartition(":")
    if not host or "/" in host:
        raise UserError(f"{where} {without_credentials(url)}: expected HOST:PORT")
    check_port(port, f"{where} {url}")


def is_loopback(url: str) -> bool:
    """Return whether HOST:PORT is on this machine."""
    return url.rpartition(":")[0] in LOOPBACK
