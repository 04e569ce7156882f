"""Signs of life to systemd, which restarts a service that gives none (sd_notify(3))."""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Mapping

log = logging.getLogger("xpnet.graph")

TIMEOUT_S = 20.0
"""systemd kills and restarts the service after so long without a sign of life."""
INTERVAL_S = 2.0


class Watchdog:
    """Sends signs of life if this process is a service of systemd that may do so; else nothing.

    The unit sets NotifyAccess only; the process switches the watchdog on with its first sign.

    Args:
        environ: The environment variables.
    """

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        # A name that starts with @ is in the abstract namespace.
        self._address = environ.get("NOTIFY_SOCKET", "").replace("@", "\0", 1)
        self._sent_s = -INTERVAL_S
        self._started = False

    def alive(self) -> None:
        """Tell that the process works; may be called often."""
        now = time.monotonic()
        if not self._address or now - self._sent_s < INTERVAL_S:
            return
        self._sent_s = now
        if not self._started:
            self._started = True
            self._send(f"READY=1\nWATCHDOG_USEC={round(TIMEOUT_S * 1e6)}")
        self._send("WATCHDOG=1")

    def ending(self) -> None:
        """Switch the watchdog off, so that completing a file is not taken for a hang.

        May be called often; only the first call sends something.
        """
        if self._started:
            self._send("STOPPING=1\nWATCHDOG_USEC=0")
            self._started, self._address = False, ""

    def _send(self, message: str) -> None:
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.connect(self._address)
                sender.send(message.encode())
        except OSError as error:
            log.debug("systemd cannot be told %s: %s", message.partition("\n")[0], error)
