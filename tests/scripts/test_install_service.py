"""scripts/install_service.sh: the files in /etc, and who may read them.

A folder of the test replaces /etc, and a fake systemctl logs its arguments.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from deepstream.control.controls import default_settings_file
from xpnet.paths import ROOT


class Machine:
    """A checkout whose scripts write to a folder of the test instead of /etc."""

    def __init__(self, folder: Path, checkout: str = "checkout") -> None:
        self.etc, self.checkout, self.programs = folder / "etc", folder / checkout, folder / "bin"
        (self.etc / "systemd" / "system").mkdir(parents=True)
        for name in ("scripts", "jetson"):
            shutil.copytree(ROOT / name, self.checkout / name)
        for name in ("install_service.sh", "common.sh"):
            script = self.checkout / "scripts" / name
            text = script.read_text(encoding="utf-8")
            assert "/etc/" in text
            script.write_text(text.replace("/etc/", f"{self.etc}/"))
        if os.geteuid() == 0:  # the service may not run as root
            os.chown(self.checkout, 65534, 65534)
        self.programs.mkdir()
        self.calls_file = folder / "calls"
        self.add_program("systemctl", f'echo "$*" >> {self.calls_file}')
        self.add_program("sudo", 'exec "$@"')
        self.settings_file = self.etc / "xpnet" / "cart.conf"

    def add_program(self, name: str, text: str) -> None:
        (self.programs / name).write_text(f"#!/bin/sh\n{text}\n")
        (self.programs / name).chmod(0o755)

    def install(self) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.checkout / "scripts" / "install_service.sh"],
            env=os.environ | {"PATH": f"{self.programs}:{os.environ['PATH']}"},
            capture_output=True, text=True, check=False,
        )  # fmt: skip

    def settings(self) -> dict[str, str]:
        lines = self.settings_file.read_text(encoding="utf-8").splitlines()
        return dict(line.split("=", 1) for line in lines if not line.startswith("#"))


@pytest.mark.parametrize(("arch", "sink"), [("aarch64", "drm"), ("x86_64", "screen")])
def test_default_sink_depends_on_the_machine(tmp_path: Path, arch: str, sink: str) -> None:
    """No machine starts deepstream-app by default: it does not show the frame."""
    machine = Machine(tmp_path)
    machine.add_program("uname", f"echo {arch}")
    (machine.etc / "nv_tegra_release").touch()
    result = machine.install()
    assert result.returncode == 0, result.stderr
    settings = machine.settings()
    assert (settings["XPNET_SINK"], settings["XPNET_KIND"]) == (sink, "graph")
    assert "DISPLAY" not in settings
    calls = machine.calls_file.read_text().splitlines()
    assert calls == ["daemon-reload", "enable --now xpnet-cart.service"]


def test_only_root_can_read_the_settings_and_a_second_install_keeps_them(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    assert machine.install().returncode == 0
    assert machine.settings_file.stat().st_mode & 0o777 == 0o600
    machine.settings_file.write_text("XPNET_SOURCE=rtsp://me:secret@camera/\n")
    machine.settings_file.chmod(0o644)
    assert machine.install().returncode == 0
    assert machine.settings_file.stat().st_mode & 0o777 == 0o600
    assert machine.settings() == {"XPNET_SOURCE": "rtsp://me:secret@camera/"}


@pytest.mark.parametrize("name", ["the cart", "cart&co", "50%"])
def test_path_with_special_characters_is_rejected(tmp_path: Path, name: str) -> None:
    machine = Machine(tmp_path, name)
    result = machine.install()
    assert (result.returncode, len(result.stderr.splitlines())) == (2, 1)
    message = "path of the checkout contains other characters than letters"
    assert f"{machine.checkout}: {message}" in result.stderr
    assert not list((machine.etc / "systemd" / "system").iterdir())


def test_choices_of_a_run_are_saved_where_the_service_may_write(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    unit = (ROOT / "jetson" / "xpnet-cart.service").read_text(encoding="utf-8")
    (folder,) = re.findall(r"^StateDirectory=(.*)$", unit, re.MULTILINE)
    (base,) = re.findall(r"^Environment=XDG_CONFIG_HOME=(.*)$", unit, re.MULTILINE)
    state = Path("/var/lib")  # %S of a service of the system
    monkeypatch.setenv("XDG_CONFIG_HOME", base.replace("%S", str(state)))
    assert default_settings_file().parent == state / folder
