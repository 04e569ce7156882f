from __future__ import annotations

import socket
from pathlib import Path

import pytest

from xpnet.host import watchdog
from xpnet.host.watchdog import Watchdog


def received(server: socket.socket) -> list[str]:
    server.settimeout(0.1)
    found = []
    try:
        while True:
            found.append(server.recv(200).decode())
    except TimeoutError:
        return found


def test_signs_of_life(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(str(tmp_path / "notify"))
        dog = Watchdog({"NOTIFY_SOCKET": str(tmp_path / "notify")})
        dog.ending()
        for _ in range(100):
            dog.alive()
        assert received(server) == ["READY=1\nWATCHDOG_USEC=20000000", "WATCHDOG=1"]
        monkeypatch.setattr(watchdog, "INTERVAL_S", 0.0)
        dog.alive()
        dog.ending()
        dog.ending()
        dog.alive()  # too late
        assert received(server) == ["WATCHDOG=1", "STOPPING=1\nWATCHDOG_USEC=0"]


def test_abstract_socket() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind("\0xpnet-test-notify")
        Watchdog({"NOTIFY_SOCKET": "@xpnet-test-notify"}).alive()
        assert len(received(server)) == 2


def test_without_systemd_nothing_happens(tmp_path: Path) -> None:
    for environ in ({}, {"NOTIFY_SOCKET": str(tmp_path / "missing")}):
        dog = Watchdog(environ)
        dog.alive()
        dog.ending()
