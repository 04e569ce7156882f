"""The HTTP service by itself: routes, tokens, and messages that no client should send."""

from __future__ import annotations

import http.client
import json
import random
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deepstream.control.appearance import Appearance
from deepstream.control.client import request
from deepstream.control.controls import Controls
from deepstream.control.http_service import ServiceSettings, running_service
from deepstream.control.preview import Preview
from deepstream.control.state import COUNTERS, GAUGES, RunState
from deepstream.statistics import RunStatistics
from xpnet.bench.faults.connection_faults import ROUTES
from xpnet.bench.faults.random_messages import send_random_messages
from xpnet.errors import UserError

TOKEN = "0123456789abcdef"


class Pictures(Preview):
    """Gives the same bytes at once."""

    def jpeg(self) -> bytes | None:
        return b"\xff\xd8"

    def png(self) -> bytes | None:
        return None


@pytest.fixture
def state(tmp_path: Path) -> RunState:
    statistics = RunStatistics()
    now = time.monotonic()
    for number in range(50):
        statistics.frame_drawn(now - 0.04 * (49 - number), number)
        statistics.latency_s.append(0.001 * number)
    statistics.assistant = "ready"
    facts = {"model": "m", "model_threshold": 0.5}
    return RunState(statistics, Controls(Appearance(), tmp_path / "o.json"), dict, facts)


@pytest.fixture
def port(state: RunState) -> Iterator[int]:
    with running_service(ServiceSettings(port=0), state, Pictures()) as (_, number):
        yield number


def ask(
    port: int, path: str, body: Any = None, method: str = "", **headers: str
) -> tuple[int, str, bytes]:
    """Return status, content type and content of an answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method or ("POST" if body is not None else "GET"), path, body, sent)
    answer = connection.getresponse()
    result = answer.status, answer.getheader("Content-Type") or "", answer.read()
    connection.close()
    return result


def test_state_and_health(port: int, state: RunState) -> None:
    status, kind, content = ask(port, "/state")
    told = json.loads(content)
    assert (status, kind) == (200, "application/json")
    assert (told["frames"], told["assistant"], told["model"], told["fps"]) == (50, "ready", "m", 25)
    assert told["settings"]["shape"] == "fill"
    assert told["mask_age_ms"] is None
    assert ask(port, "/health")[0] == 200
    state.statistics.source_lost = True
    assert ask(port, "/health")[0] == 503
    state.statistics.source_lost = False
    state.statistics.last_frame_s -= 10
    status, _, content = ask(port, "/health")
    assert (status, json.loads(content)["healthy"]) == (503, False)


def test_metrics_are_in_the_format_of_prometheus(port: int) -> None:
    status, kind, content = ask(port, "/metrics")
    assert (status, kind) == (200, "text/plain; version=0.0.4; charset=utf-8")
    values = {}
    for line in content.decode().splitlines():
        if not line.startswith("#"):
            name, _, value = line.rpartition(" ")
            values[name] = float(value)
    assert {f"xpnet_{name}_total" for name in COUNTERS} <= values.keys()
    known = {"cpu_load", "gpu_load"}  # where the machine tells them
    assert {f"xpnet_{name}" for name in GAUGES if name not in known} <= values.keys()
    assert values["xpnet_frames_total"] == 50
    assert values["xpnet_assistant_ready"] == 1
    assert values['xpnet_latency_milliseconds{quantile="0.50"}'] == 24.5
    assert values["xpnet_resident_memory_bytes"] > 1e7


def test_page_and_pictures(port: int) -> None:
    status, kind, content = ask(port, "/")
    assert (status, kind) == (200, "text/html; charset=utf-8")
    assert b"Not a medical device" in content
    assert ask(port, "/preview.jpg") == (200, "image/jpeg", b"\xff\xd8")
    assert ask(port, "/still.png")[0] == 503


def test_settings_are_changed(port: int, state: RunState) -> None:
    body = json.dumps({"enabled": False, "opacity": 0.5})
    status, _, content = ask(port, "/settings", body, Content_Type="application/json")
    assert (status, json.loads(content)["opacity"]) == (200, 0.5)
    assert not state.controls.appearance.enabled
    assert request(f"127.0.0.1:{port}", "", {"enabled": True})["enabled"] is True
    assert request(f"127.0.0.1:{port}", "", None)["frames"] == 50
    with pytest.raises(UserError, match=r"the run at 127\.0\.0\.1:\d+ refuses: setting 'x'"):
        request(f"127.0.0.1:{port}", "", {"x": 1})


@pytest.mark.parametrize(
    ("body", "headers", "expected"),
    [
        ("{}", {"Content_Type": "text/plain"}, 415),  # what a form of another site can send
        ("{}", {}, 415),
        ("[1]", {"Content_Type": "application/json"}, 400),
        ("{", {"Content_Type": "application/json"}, 400),
        ("[" * 4000, {"Content_Type": "application/json"}, 400),
        ("x" * 5000, {"Content_Type": "application/json"}, 413),
        ('{"opacity": 2}', {"Content_Type": "application/json"}, 400),
    ],
)
def test_wrong_changes_are_refused(
    port: int, state: RunState, body: str, headers: dict[str, str], expected: int
) -> None:
    status, _, content = ask(port, "/settings", body, **headers)
    assert status == expected
    assert json.loads(content)["error"]
    assert state.controls.appearance == Appearance()


def test_name_of_another_site_is_refused(port: int) -> None:
    assert ask(port, "/state", Host="evil.example")[0] == 403
    assert ask(port, "/state", Host=f"localhost:{port}")[0] == 200
    assert ask(port, "/nothing")[0] == 404
    assert ask(port, "/state", method="DELETE")[0] == 501


def test_other_addresses_need_a_token(state: RunState) -> None:
    with pytest.raises(UserError, match=r"--control 0\.0\.0\.0: other machines can reach it"):
        ServiceSettings("0.0.0.0")
    with pytest.raises(UserError, match="has 5 characters, expected at least 16"):
        ServiceSettings("0.0.0.0", token="short")
    settings = ServiceSettings("0.0.0.0", 0, TOKEN)
    with running_service(settings, state, Pictures()) as (_, port):
        for path in ROUTES:
            assert ask(port, path)[0] == 401
            assert ask(port, path, Authorization="Bearer 0123456789abcdeX")[0] == 401
            assert ask(port, path, Cookie="xpnet_token=\x80")[0] == 401
        assert ask(port, "/settings", "{}", Content_Type="application/json")[0] == 401
        assert ask(port, "/state", Authorization=f"Bearer {TOKEN}")[0] == 200
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        connection.request("GET", f"/?token={TOKEN}")
        answer = connection.getresponse()
        cookie = answer.getheader("Set-Cookie") or ""
        assert (answer.status, answer.getheader("Location")) == (303, "/")
        assert "HttpOnly" in cookie
        assert "SameSite=Strict" in cookie
        assert ask(port, "/", Cookie=cookie.partition(";")[0])[0] == 200
        assert request(f"127.0.0.1:{port}", TOKEN, None)["frames"] == 50
        with pytest.raises(UserError, match="refuses: expected Authorization"):
            request(f"127.0.0.1:{port}", "", None)


def test_a_token_of_base64_signs_in(state: RunState) -> None:
    token = "0123+4567/89ab+cdef="
    with running_service(ServiceSettings("0.0.0.0", 0, token), state, Pictures()) as (_, port):
        assert ask(port, f"/?token={token}")[0] == 303


def test_recorder_without_record_or_action_is_refused(port: int) -> None:
    def post(body: bytes) -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        connection.request("POST", "/recorder", body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())["error"]

    assert post(b'{"action": "start"}') == (
        409, "nothing can be recorded: expected --record FOLDER at the start of the run",
    )  # fmt: skip
    for body in (
        b'{"action": "delete"}',
        b'{"action": ["start"]}',
        b"{}",
        b'{"action": 1, "b": 2}',
    ):
        status, error = post(body)
        assert (status, error) == (
            400, "expected an object with action: one of start, stop, keep, still",
        )  # fmt: skip


def test_port_in_use_gives_one_line(port: int, state: RunState) -> None:
    with (
        pytest.raises(UserError, match=rf"--control 127\.0\.0\.1:{port} cannot be listened on"),
        running_service(ServiceSettings(port=port), state, Pictures()),
    ):
        pass
    with pytest.raises(UserError, match="no run with --control answers at 127"):
        request("127.0.0.1:1", "", None)


def test_random_messages_do_not_harm_the_service(port: int, state: RunState) -> None:
    """A thousand in all; some are half of a request, some no HTTP at all."""
    chosen = random.Random(7)
    before = state.controls.appearance.as_dict()
    for path in ROUTES:
        send_random_messages(port, path, 1000 // len(ROUTES) + 1, chosen)
    assert state.controls.appearance.as_dict() == before
    assert ask(port, "/state")[0] == 200


def test_silent_clients_do_not_keep_others_out(port: int) -> None:
    silent = [socket.create_connection(("127.0.0.1", port)) for _ in range(10)]
    assert ask(port, "/state")[0] == 200
    for client in silent:
        client.close()


def test_every_route_is_known_to_the_benchmark_of_faults(port: int) -> None:
    known: list[str] = []
    for method in ("GET", "POST"):
        status, _, content = ask(port, "/no-such-route", method=method)
        assert status == 404
        known += json.loads(content)["error"].removeprefix("expected one of ").split(", ")
    assert tuple(known) == ROUTES
