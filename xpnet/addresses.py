"""Addresses of cameras, servers and viewers: checked in one place, shown without passwords."""

from __future__ import annotations

import re

from xpnet.errors import UserError

LOOPBACK = ("127.0.0.1", "localhost", "[::1]")


def public(address: str) -> str:
    """An address as it may be shown: without user, password and query.

    Cameras take their password in front of an `@` or in the query, and people do not escape it:
    everything up to the last `@` goes.
    """
    scheme, separator, rest = address.partition("://")
    if not separator:
        return address
    return f"{scheme}://{re.split('[?#]', rest.rpartition('@')[2])[0]}"


def check_port(text: str, where: str) -> int:
    """The number of a port. Raises UserError, naming `where` it stands, for anything else."""
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= 65535):
        raise UserError(f"{where}: port {text or 'missing'}, expected 1 to 65535")
    return int(text)


def check_server(url: str, where: str) -> None:
    """Raises UserError, naming `where` it stands, for what is not HOST:PORT."""
    host, _, port = url.rpartition(":")
    if not host or "/" in host:
        raise UserError(f"{where} {public(url)}: expected HOST:PORT")
    check_port(port, f"{where} {url}")


def is_loopback(url: str) -> bool:
    """Whether HOST:PORT is on this machine."""
    return url.rpartition(":")[0] in LOOPBACK
