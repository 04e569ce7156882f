"""The HTTP service of a run: page, state, metrics, preview, and changes of the settings.

It listens on 127.0.0.1 unless told otherwise, and then only with a token. Requests run in threads
of their own and only read what the probes write, so they cannot delay a frame.
"""

from __future__ import annotations

import hmac
import json
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from http.cookies import CookieError, SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

from deepstream.control.preview import Preview
from deepstream.control.recording import act
from deepstream.control.state import RunState
from xpnet.addresses import LOOPBACK
from xpnet.errors import UserError

log = logging.getLogger("xpnet.control")

PAGE = Path(__file__).with_name("page.html")
COOKIE = "xpnet_token"
MIN_TOKEN = 16
MAX_BODY = 4096
TIMEOUT_S = 5.0
MAX_THREADS = 16
JSON, TEXT = "application/json", "text/plain; version=0.0.4; charset=utf-8"


@dataclass(frozen=True)
class ServiceSettings:
    """Where the service listens.

    Attributes:
        host: Address.
        port: TCP port; 0 for a free one.
        token: What clients must send; empty only on a loopback address.

    Raises:
        UserError: No token for an address that others can reach, or one that is too short.
    """

    host: str = "127.0.0.1"
    port: int = 8080
    token: str = ""

    def __post_init__(self) -> None:
        if self.host not in LOOPBACK and not self.token:
            raise UserError(
                f"--control {self.host}: other machines can reach it: "
                "expected --control-token-file, too"
            )
        if self.token and len(self.token) < MIN_TOKEN:
            raise UserError(
                f"the token of --control has {len(self.token)} characters, "
                f"expected at least {MIN_TOKEN}"
            )


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 16

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        self._slots = threading.BoundedSemaphore(MAX_THREADS)
        super().__init__(address, handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Handle a request in a thread, or close it if too many are running."""
        if not self._slots.acquire(blocking=False):
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._slots.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log a broken connection only for debugging: a client may leave at any time."""
        log.debug("request of %s failed", client_address, exc_info=True)


class _Handler(BaseHTTPRequestHandler):
    """One request; `running_service` sets the class attributes."""

    state: ClassVar[RunState]
    preview: ClassVar[Preview]
    settings: ClassVar[ServiceSettings]
    timeout = TIMEOUT_S
    server_version, sys_version = "xpnet", ""

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        # A token may contain `+`, which stands for a space in a query.
        given = parse_qs(url.query.replace("+", "%2B")).get("token", [""])[0]
        if self.settings.token and _same(given, self.settings.token) and url.path == "/":
            self._sign_in()
            return
        routes: dict[str, Callable[[], None]] = {
            "/": lambda: self._send(HTTPStatus.OK, "text/html; charset=utf-8", PAGE.read_bytes()),
            "/state": lambda: self._send_json(HTTPStatus.OK, self.state.as_dict()),
            "/health": self._health,
            "/metrics": lambda: self._send(HTTPStatus.OK, TEXT, self.state.as_metrics().encode()),
            "/preview.jpg": lambda: self._send_picture("image/jpeg", self.preview.jpeg()),
            "/still.png": lambda: self._send_picture("image/png", self.preview.png()),
        }
        self._route(routes, url.path)

    def do_POST(self) -> None:
        routes = {"/settings": self._change, "/recorder": self._record}
        self._route(routes, urlsplit(self.path).path)

    def _route(self, routes: dict[str, Callable[[], None]], path: str) -> None:
        if not self._host_is_ours():
            self._fail(HTTPStatus.FORBIDDEN, "the Host header names another server")
        elif not self._has_token():
            self._fail(HTTPStatus.UNAUTHORIZED, "expected Authorization: Bearer TOKEN")
        elif path not in routes:
            self._fail(HTTPStatus.NOT_FOUND, f"expected one of {', '.join(routes)}")
        else:
            routes[path]()

    def _change(self) -> None:
        values = self._json_body()
        if values is None:
            return
        try:
            shown = self.state.controls.change(values, "http")
        except UserError as error:
            self._fail(HTTPStatus.BAD_REQUEST, str(error))
            return
        self._send_json(HTTPStatus.OK, shown.as_dict())

    def _record(self) -> None:
        """Start or stop a recording, keep the last seconds, or save a still."""
        values = self._json_body()
        if values is None:
            return
        try:
            answer = act(values, self.state, self.preview)
        except ValueError as error:
            self._fail(HTTPStatus.BAD_REQUEST, str(error))
            return
        except UserError as error:
            self._fail(HTTPStatus.CONFLICT, str(error))
            return
        self._send_json(HTTPStatus.OK, answer)

    def _json_body(self) -> dict[str, Any] | None:
        """Return the object sent, or None after an error was answered.

        Only JSON is accepted, which a form of another site cannot send.
        """
        kind = self.headers.get("Content-Type", "").partition(";")[0].strip()
        length = self.headers.get("Content-Length", "")
        if kind != JSON:
            self._fail(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"expected Content-Type: {JSON}")
            return None
        if not (length.isascii() and length.isdigit() and int(length) <= MAX_BODY):
            self._fail(HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                       f"expected Content-Length of at most {MAX_BODY}")  # fmt: skip
            return None
        try:
            values = json.loads(self.rfile.read(int(length)))
            if not isinstance(values, dict):
                raise ValueError("expected an object")
        except (ValueError, RecursionError) as error:
            self._fail(HTTPStatus.BAD_REQUEST, str(error))
            return None
        return values

    def _health(self) -> None:
        state = self.state.as_dict()
        told = {key: state[key] for key in ("healthy", "assistant", "source")}
        status = HTTPStatus.OK if state["healthy"] else HTTPStatus.SERVICE_UNAVAILABLE
        self._send_json(status, told)

    def _host_is_ours(self) -> bool:
        """Check the Host header, so that another site's name cannot stand for this address."""
        if self.settings.host not in LOOPBACK:
            return True  # a token is required
        name = urlsplit("//" + self.headers.get("Host", "")).hostname or ""
        return name in (*LOOPBACK, "::1")

    def _has_token(self) -> bool:
        if not self.settings.token:
            return True
        scheme, _, sent = self.headers.get("Authorization", "").partition(" ")
        if scheme == "Bearer" and _same(sent, self.settings.token):
            return True
        try:
            cookie = SimpleCookie(self.headers.get("Cookie", "")).get(COOKIE)
        except CookieError:
            return False
        return cookie is not None and _same(cookie.value, self.settings.token)

    def _sign_in(self) -> None:
        """Put the token into a cookie, so that it does not stay in the address."""
        self.send_response(HTTPStatus.SEE_OTHER)
        self.send_header("Location", "/")
        cookie = f"{COOKIE}={self.settings.token}; HttpOnly; SameSite=Strict; Path=/"
        self.send_header("Set-Cookie", cookie)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _send_picture(self, kind: str, data: bytes | None) -> None:
        if data is None:
            self._fail(HTTPStatus.SERVICE_UNAVAILABLE, "no frame was shown within a second")
        else:
            self._send(HTTPStatus.OK, kind, data)

    def _fail(self, status: HTTPStatus, reason: str) -> None:
        self._send_json(status, {"error": reason})

    def _send_json(self, status: HTTPStatus, content: Any) -> None:
        self._send(status, JSON, json.dumps(content).encode())

    def _send(self, status: HTTPStatus, kind: str, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Content-Security-Policy", "default-src 'self' 'unsafe-inline'")
        self.send_header("X-Frame-Options", "DENY")
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        """Log requests for debugging only, without the query, which may hold the token."""
        log.debug("%s %s", self.command, urlsplit(self.path).path)


def _same(given: str, token: str) -> bool:
    return hmac.compare_digest(given.encode(), token.encode())


@contextmanager
def running_service(
    settings: ServiceSettings, state: RunState, preview: Preview
) -> Iterator[tuple[str, int]]:
    """Run the service for the time of the `with` block.

    Args:
        settings: Where it listens.
        state: The state of the run.
        preview: Gives pictures.

    Yields:
        Host and port.

    Raises:
        UserError: The address cannot be listened on.
    """
    values = {"state": state, "preview": preview, "settings": settings}
    handler = type("Handler", (_Handler,), values)
    try:
        server = _Server((settings.host, settings.port), handler)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UserError(
            f"--control {settings.host}:{settings.port} cannot be listened on: {reason}"
        ) from error
    thread = threading.Thread(target=server.serve_forever, name="control", daemon=True)
    thread.start()
    try:
        yield settings.host, server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
