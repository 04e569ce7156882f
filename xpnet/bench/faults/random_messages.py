"""Random messages to an HTTP service: halves of requests, wrong methods, noise."""

from __future__ import annotations

import random
import socket

TIMEOUT_S = 5.0


def send_random_messages(port: int, path: str, count: int, chosen: random.Random) -> None:
    """Send messages to one route of a service on this machine, one after the other.

    Args:
        port: TCP port of 127.0.0.1.
        path: The route.
        count: Number of messages.
        chosen: Source of randomness.

    Raises:
        OSError: The service accepts no connection, or gives no end of its answer.
    """
    for number in range(count):
        message = random_message(path, chosen) if number % 4 else _noise(chosen)
        with socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_S) as client:
            try:
                client.sendall(message)
                if number % 2:
                    client.shutdown(socket.SHUT_WR)
                    while client.recv(65536):
                        pass
            except (BrokenPipeError, ConnectionResetError):
                continue  # the service may hang up in the middle of nonsense


def random_message(path: str, chosen: random.Random) -> bytes:
    """Return the beginning of a request, of random length, with a random method and body.

    Args:
        path: The route.
        chosen: Source of randomness.
    """
    noise = _noise(chosen)
    method = chosen.choice((b"GET", b"POST", b"PUT", noise[:5]))
    parts = [
        b"%s %s HTTP/1.%d\r\n" % (method, path.encode(), chosen.randrange(3)),
        b"Content-Length: %d\r\n" % chosen.randrange(100),
        b"Content-Type: application/json\r\n",
        b"\r\n",
        noise,
    ]
    return b"".join(parts[: chosen.randrange(1, 6)])


def _noise(chosen: random.Random) -> bytes:
    return bytes(chosen.randrange(256) for _ in range(chosen.randrange(200)))
