"""The service's install: what lies in /etc afterwards, and who may read it.

/etc is a folder of the test, and systemctl a stand-in that notes what it is asked.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conftest import ROOT


class Machine:
    """A checkout whose scripts write into a folder of the test instead of /etc."""

    def __init__(self, place: Path, checkout: str = "checkout") -> None:
        self.etc, self.checkout, self.programs = place / "etc", place / checkout, place / "bin"
        (self.etc / "systemd" / "system").mkdir(parents=True)
        for name in ("scripts", "jetson"):
            shutil.copytree(ROOT / name, self.checkout / name)
        for name in ("service.sh", "common.sh"):
            script = self.checkout / "scripts" / name
            text = script.read_text(encoding="utf-8")
            assert "/etc/" in text
            script.write_text(text.replace("/etc/", f"{self.etc}/"))
        if os.geteuid() == 0:  # a service is not root's
            os.chown(self.checkout, 65534, 65534)
        self.programs.mkdir()
        self.put("systemctl", f'echo "$*" >> {place}/asked')
        self.put("sudo", 'exec "$@"')
        self.settings = self.etc / "xpnet" / "cart.conf"

    def put(self, name: str, text: str) -> None:
        (self.programs / name).write_text(f"#!/bin/sh\n{text}\n")
        (self.programs / name).chmod(0o755)

    def install(self) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.checkout / "scripts" / "service.sh"],
            env=os.environ | {"PATH": f"{self.programs}:{os.environ['PATH']}"},
            capture_output=True, text=True, check=False,
        )  # fmt: skip

    def set(self) -> dict[str, str]:
        lines = self.settings.read_text(encoding="utf-8").splitlines()
        return dict(row.split("=", 1) for row in lines if not row.startswith("#"))


@pytest.mark.parametrize(
    ("arch", "shown"), [("aarch64", ("drm", "app")), ("x86_64", ("screen", "graph"))]
)
def test_where_a_service_shows_at_first(tmp_path: Path, arch: str, shown: tuple[str, str]) -> None:
    machine = Machine(tmp_path)
    machine.put("uname", f"echo {arch}")
    (machine.etc / "nv_tegra_release").touch()
    result = machine.install()
    assert result.returncode == 0, result.stderr
    found = machine.set()
    assert (found["XPNET_SINK"], found["XPNET_KIND"]) == shown
    assert "DISPLAY" not in found  # nor a desktop that the service could not open
    asked = (tmp_path / "asked").read_text().splitlines()
    assert asked == ["daemon-reload", "enable --now xpnet-cart.service"]


def test_only_root_reads_the_settings_and_they_stay(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    assert machine.install().returncode == 0
    assert machine.settings.stat().st_mode & 0o777 == 0o600
    machine.settings.write_text("XPNET_SOURCE=rtsp://me:secret@camera/\n")
    machine.settings.chmod(0o644)
    assert machine.install().returncode == 0
    assert machine.settings.stat().st_mode & 0o777 == 0o600
    assert machine.set() == {"XPNET_SOURCE": "rtsp://me:secret@camera/"}


@pytest.mark.parametrize("name", ["the cart", "cart&co", "50%"])
def test_a_path_that_a_unit_cannot_hold(tmp_path: Path, name: str) -> None:
    machine = Machine(tmp_path, name)
    result = machine.install()
    assert (result.returncode, len(result.stderr.splitlines())) == (2, 1)
    assert f"{machine.checkout}: expected a path of letters" in result.stderr
    assert not list((machine.etc / "systemd" / "system").iterdir())
