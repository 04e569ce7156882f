"""The TCP sockets that listen on this machine, read from the Linux kernel."""

from __future__ import annotations

import sys
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

Address = IPv4Address | IPv6Address

TCP_LISTEN = "0A"
"""State of a listening socket in /proc/net/tcp (proc(5); include/net/tcp_states.h)."""


def listening_sockets() -> list[tuple[Address, int]]:
    """Return address and port of every listening TCP socket, from /proc/net/tcp and tcp6."""
    sockets = []
    for table in ("tcp", "tcp6"):
        with suppress(OSError):  # a kernel without IPv6 has no tcp6
            for line in Path("/proc/net", table).read_text(encoding="ascii").splitlines()[1:]:
                local, state = line.split()[1], line.split()[3]
                if state == TCP_LISTEN:
                    address, port = local.split(":")
                    sockets.append((parse_kernel_address(bytes.fromhex(address)), int(port, 16)))
    return sockets


def parse_kernel_address(raw: bytes) -> Address:
    """Convert an address as the kernel prints it: words of 32 bits in the machine's byte order.

    Args:
        raw: 4 bytes (IPv4) or 16 bytes (IPv6).

    Returns:
        The address; the IPv4 address if an IPv6 address only maps one.
    """
    words = [raw[i : i + 4] for i in range(0, len(raw), 4)]
    network_order = b"".join(w[::-1] if sys.byteorder == "little" else w for w in words)
    address = ip_address(network_order)
    return getattr(address, "ipv4_mapped", None) or address
