"""scripts/install_pyds.sh and scripts/setup.sh on a machine with DeepStream.

A folder with a version file and a fake of NVIDIA's script replaces DeepStream. The fake logs its
options and writes a wheel to the place where NVIDIA's script writes it
(user_deepstream_python_apps_install.sh in deepstream_dockers of github.com/NVIDIA/DeepStream). pip
is the real one.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.scripts.test_scripts import write_wheel
from xpnet.paths import ROOT

NVIDIA_INSTALLER = """#!/bin/bash
echo "$@" >> {folder}/calls
cd {folder}/sources
mkdir deepstream_python_apps || exit 1  # as git clone fails if the folder exists
cd deepstream_python_apps
[ ! -f {folder}/fail ] || exit 0
[ "$1" = --version ] || {{ mkdir -p bindings/dist; cd bindings/dist; }}
cp {folder}/wheel/*.whl .
"""


class DeepStreamMachine:
    """A checkout whose scripts use a fake DeepStream in a folder of the test."""

    def __init__(self, folder: Path, version: str) -> None:
        self.deepstream, self.checkout = folder / "deepstream", folder / "checkout"
        (self.deepstream / "sources").mkdir(parents=True)
        (self.deepstream / "wheel").mkdir()
        (self.deepstream / "version").write_text(f"Version: {version}\nGCID: 1\n")
        write_wheel(self.deepstream / "wheel", "pyds")
        installer = self.deepstream / "user_deepstream_python_apps_install.sh"
        installer.write_text(NVIDIA_INSTALLER.format(folder=self.deepstream))
        shutil.copytree(ROOT / "scripts", self.checkout / "scripts")
        common = self.checkout / "scripts" / "common.sh"
        text = common.read_text(encoding="utf-8")
        line = "deepstream_dir=/opt/nvidia/deepstream/deepstream\n"
        assert line in text
        common.write_text(text.replace(line, f"deepstream_dir={self.deepstream}\n"))
        self.programs = folder / "bin"
        self.programs.mkdir()
        self.add_program("sudo", 'exec "$@"')

    def add_program(self, name: str, text: str) -> None:
        (self.programs / name).write_text(f"#!/bin/sh\n{text}\n")
        (self.programs / name).chmod(0o755)

    def run(
        self, script: str, *arguments: str, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        path = f"{self.programs}:{os.environ['PATH']}"
        return subprocess.run(
            [self.checkout / "scripts" / script, *arguments],
            env=os.environ | {"PATH": path} | variables,
            capture_output=True, text=True, check=False,
        )  # fmt: skip

    def calls(self) -> list[str]:
        """Return the options of each call of NVIDIA's script."""
        return (self.deepstream / "calls").read_text().splitlines()


@pytest.fixture
def machine(tmp_path: Path) -> DeepStreamMachine:
    return DeepStreamMachine(tmp_path, "8.0.0")


@pytest.fixture
def offline(tmp_path: Path) -> dict[str, str]:
    """Variables that make pip install from a folder of wheels."""
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    for name, version in (("numpy", "2.2.6"), ("numpy", "1.26.4"), ("other", "1.0")):
        write_wheel(wheels, name, version)
    return {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheels), "PIP_CONFIG_FILE": os.devnull}


@pytest.mark.parametrize(
    ("version", "options"),
    [("7.1.0", "--version 1.2.0"), ("8.0.0", "--version 1.2.2"), ("9.1.0", "--build-bindings")],
)
def test_wheel_of_pyds_is_made_once_for_this_deepstream(
    tmp_path: Path, version: str, options: str
) -> None:
    machine = DeepStreamMachine(tmp_path, version)
    result = machine.run("install_pyds.sh")
    assert result.returncode == 0, result.stderr
    assert machine.calls() == [options]
    wheel = machine.run("install_pyds.sh", "--where").stdout.strip()
    assert Path(wheel).name == "pyds-1.0-py3-none-any.whl"
    assert machine.run("install_pyds.sh").stdout.strip() == wheel
    assert machine.calls() == [options]


def test_failed_installation_of_pyds_is_restarted(machine: DeepStreamMachine) -> None:
    (machine.deepstream / "fail").touch()
    result = machine.run("install_pyds.sh")
    assert result.returncode == 2
    assert result.stderr == (
        "install_pyds: NVIDIA's script made no wheel of pyds (see above); "
        "run this again to restart it\n"
    )
    (machine.deepstream / "fail").unlink()
    assert machine.run("install_pyds.sh").returncode == 0
    assert machine.run("install_pyds.sh", "--where").returncode == 0


def test_existing_folder_of_the_user_is_renamed(machine: DeepStreamMachine) -> None:
    sources = machine.deepstream / "sources"
    (sources / "deepstream_python_apps").mkdir()
    (sources / "deepstream_python_apps" / "mine.py").touch()
    result = machine.run("install_pyds.sh")
    assert result.returncode == 0, result.stderr
    (renamed,) = sources.glob("deepstream_python_apps.*")
    assert (renamed / "mine.py").exists()
    assert f"has no wheel of pyds: renamed to {renamed}" in result.stdout


def test_setup_installs_numpy_1_and_pyds_but_no_triton_server(
    machine: DeepStreamMachine, offline: dict[str, str]
) -> None:
    (machine.checkout / "requirements.txt").write_text("numpy==2.2.6\nother==1.0\n")
    packages = machine.run("setup.sh", "--deepstream", "--step", "python", **offline)
    assert packages.returncode == 0, packages.stderr
    without_pyds = machine.run("setup.sh", "--deepstream", "--step", "server", **offline)
    assert without_pyds.returncode == 2
    assert without_pyds.stderr.startswith("install_pyds: no wheel of pyds in ")
    assert len(without_pyds.stderr.splitlines()) == 1
    machine.run("install_pyds.sh")
    server = machine.run("setup.sh", "--deepstream", "--step", "server", **offline)
    assert server.returncode == 0, server.stderr
    python = machine.checkout / ".venv" / "bin" / "python"
    code = "import importlib.metadata as m; print(m.version('numpy'), m.version('pyds'))"
    versions = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True)
    assert versions.stdout.split() == ["1.26.4", "1.0"]
    assert not (machine.checkout / ".triton").exists()


def test_later_runs_of_setup_keep_the_choice_of_deepstream(
    machine: DeepStreamMachine, offline: dict[str, str]
) -> None:
    (machine.checkout / "requirements.txt").write_text("numpy==2.2.6\n")
    (machine.checkout / "requirements-bench.txt").write_text("other==1.0\n")
    python = machine.checkout / ".venv" / "bin" / "python"

    def numpy_after(*options: str) -> str:
        result = machine.run("setup.sh", *options, "--step", "python", **offline)
        assert result.returncode == 0, result.stderr
        code = "import importlib.metadata as m; print(m.version('numpy'))"
        return subprocess.check_output([python, "-c", code], text=True).strip()

    assert numpy_after() == "2.2.6"
    assert numpy_after("--deepstream") == "1.26.4"
    assert numpy_after("--bench") == "1.26.4"
    machine.add_program("uname", "echo aarch64")
    assert numpy_after("--bench") == "1.26.4"
    dev = machine.run("setup.sh", "--dev", "--step", "python", **offline)
    assert (dev.returncode, len(dev.stderr.splitlines())) == (2, 1)
    assert dev.stderr.startswith("setup: --dev: machine is aarch64, expected x86_64: ")
    shutil.rmtree(machine.deepstream)
    without_deepstream = machine.run("setup.sh", "--bench", "--step", "python", **offline)
    assert without_deepstream.returncode == 2
    assert "earlier: .venv/target/requirements.txt exists" in without_deepstream.stderr
