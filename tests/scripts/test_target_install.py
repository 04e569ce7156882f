"""pyds, and packages beside it, on a target: DeepStream is on none of our machines.

A folder with its version file and a stand-in for NVIDIA's script takes its place. The stand-in
notes its options and writes a wheel where NVIDIA's leaves one
(user_deepstream_python_apps_install.sh of github.com/NVIDIA/DeepStream, deepstream_dockers). pip is
the real one.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.scripts.test_scripts import wheel

NVIDIAS = """#!/bin/bash
echo "$@" >> {folder}/asked
cd {folder}/sources
mkdir deepstream_python_apps || exit 1  # as git clone does where it is there
cd deepstream_python_apps
[ ! -f {folder}/broken ] || exit 0
[ "$1" = --version ] || {{ mkdir -p bindings/dist; cd bindings/dist; }}
cp {folder}/wheel/*.whl .
"""


class Target:
    """A checkout whose scripts look for DeepStream in a folder of the test."""

    def __init__(self, place: Path, version: str) -> None:
        self.deepstream, self.checkout = place / "deepstream", place / "checkout"
        (self.deepstream / "sources").mkdir(parents=True)
        (self.deepstream / "wheel").mkdir()
        (self.deepstream / "version").write_text(f"Version: {version}\nGCID: 1\n")
        wheel(self.deepstream / "wheel", "pyds")
        script = self.deepstream / "user_deepstream_python_apps_install.sh"
        script.write_text(NVIDIAS.format(folder=self.deepstream))
        shutil.copytree(ROOT / "scripts", self.checkout / "scripts")
        common = self.checkout / "scripts" / "common.sh"
        text = common.read_text(encoding="utf-8")
        assert "deepstream=/opt/nvidia/deepstream/deepstream\n" in text
        text = text.replace("/opt/nvidia/deepstream/deepstream\n", f"{self.deepstream}\n")
        common.write_text(text)
        self.programs = place / "bin"
        self.programs.mkdir()
        (self.programs / "sudo").write_text('#!/bin/sh\nexec "$@"\n')
        (self.programs / "sudo").chmod(0o755)

    def run(self, script: str, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
        path = f"{self.programs}:{os.environ['PATH']}"
        return subprocess.run(
            [self.checkout / "scripts" / script, *words],
            env=os.environ | {"PATH": path} | env, capture_output=True, text=True, check=False,
        )  # fmt: skip

    def asked(self) -> list[str]:
        return (self.deepstream / "asked").read_text().splitlines()


@pytest.mark.parametrize(
    ("version", "how"),
    [("7.1.0", "--version 1.2.0"), ("8.0.0", "--version 1.2.2"), ("9.1.0", "--build-bindings")],
)
def test_the_wheel_of_this_deepstream(tmp_path: Path, version: str, how: str) -> None:
    target = Target(tmp_path, version)
    result = target.run("pyds.sh")
    assert result.returncode == 0, result.stderr
    assert target.asked() == [how]
    found = target.run("pyds.sh", "--where").stdout.strip()
    assert Path(found).name == "pyds-1.0-py3-none-any.whl"
    assert target.run("pyds.sh").stdout.strip() == found  # and nothing more is asked
    assert target.asked() == [how]


def test_what_broke_off_is_begun_afresh(tmp_path: Path) -> None:
    target = Target(tmp_path, "8.0.0")
    (target.deepstream / "broken").touch()
    result = target.run("pyds.sh")
    assert result.returncode == 2
    assert result.stderr == (
        "pyds: NVIDIA's script made no wheel of pyds (see above); running it again starts afresh\n"
    )
    (target.deepstream / "broken").unlink()
    assert target.run("pyds.sh").returncode == 0
    assert target.run("pyds.sh", "--where").returncode == 0


def test_what_somebody_else_put_there_is_kept(tmp_path: Path) -> None:
    target = Target(tmp_path, "8.0.0")
    sources = target.deepstream / "sources"
    (sources / "deepstream_python_apps").mkdir()
    (sources / "deepstream_python_apps" / "mine.py").touch()
    result = target.run("pyds.sh")
    assert result.returncode == 0, result.stderr
    (kept,) = sources.glob("deepstream_python_apps.*")
    assert (kept / "mine.py").exists()
    assert f"holds no wheel of pyds: kept as {kept}" in result.stdout


def test_packages_of_a_target(tmp_path: Path) -> None:
    target = Target(tmp_path, "8.0.0")
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    for name, version in (("numpy", "2.2.6"), ("numpy", "1.26.4"), ("other", "1.0")):
        wheel(wheels, name, version)
    (target.checkout / "requirements.txt").write_text("numpy==2.2.6\nother==1.0\n")
    offline = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheels), "PIP_CONFIG_FILE": os.devnull}
    packages = target.run("setup.sh", "--deepstream", "--step", "python", **offline)
    assert packages.returncode == 0, packages.stderr
    without = target.run("setup.sh", "--deepstream", "--step", "server", **offline)
    assert without.returncode == 2
    assert without.stderr.startswith("pyds: no wheel of pyds in ")
    assert len(without.stderr.splitlines()) == 1
    target.run("pyds.sh")
    assert target.run("setup.sh", "--deepstream", "--step", "server", **offline).returncode == 0
    python = target.checkout / ".venv" / "bin" / "python"
    ask = "import importlib.metadata as m; print(m.version('numpy'), m.version('pyds'))"
    found = subprocess.run([python, "-c", ask], capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["1.26.4", "1.0"]  # numpy below 2, as pyds wants it
    assert not (target.checkout / ".triton").exists()


def test_a_target_stays_one(tmp_path: Path) -> None:
    """--bench afterwards, without --deepstream, leaves numpy as pyds wants it."""
    target = Target(tmp_path, "8.0.0")
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    for name, version in (("numpy", "2.2.6"), ("numpy", "1.26.4"), ("plots", "1.0")):
        wheel(wheels, name, version)
    (target.checkout / "requirements.txt").write_text("numpy==2.2.6\n")
    (target.checkout / "requirements-bench.txt").write_text("plots==1.0\n")
    offline = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheels), "PIP_CONFIG_FILE": os.devnull}
    python = target.checkout / ".venv" / "bin" / "python"

    def numpy_after(*words: str) -> str:
        result = target.run("setup.sh", *words, "--step", "python", **offline)
        assert result.returncode == 0, result.stderr
        ask = "import importlib.metadata as m; print(m.version('numpy'))"
        return subprocess.check_output([python, "-c", ask], text=True).strip()

    assert numpy_after() == "2.2.6"  # no target yet
    assert numpy_after("--deepstream") == "1.26.4"
    assert numpy_after("--bench") == "1.26.4"
    (target.programs / "uname").write_text("#!/bin/sh\necho aarch64\n")  # nor is a Jetson refused
    (target.programs / "uname").chmod(0o755)
    assert numpy_after("--bench") == "1.26.4"
    no = target.run("setup.sh", "--dev", "--step", "python", **offline)
    assert (no.returncode, len(no.stderr.splitlines())) == (2, 1)
    assert no.stderr.startswith("setup: --dev: machine is aarch64: ")
    shutil.rmtree(target.deepstream)
    gone = target.run("setup.sh", "--bench", "--step", "python", **offline)
    assert gone.returncode == 2
    assert "remembered in .venv/target/requirements.txt" in gone.stderr
