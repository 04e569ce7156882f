"""jetson/install.sh: NVIDIA's setup of Triton runs until it succeeds, then install_cart.sh.

The fake of triton_backend_setup.sh unpacks the library first, as NVIDIA's script does (scripts of
github.com/NVIDIA/DeepStream), and can fail after it.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.scripts.test_deepstream_setup import DeepStreamMachine
from xpnet.paths import ROOT

TRITON_SETUP = """#!/bin/bash
set -e
echo setup >> {folder}/calls
mkdir -p {folder}/lib && touch {folder}/lib/libtritonserver.so
[ ! -f {folder}/fail ]
"""


class Jetson(DeepStreamMachine):
    """A Jetson with DeepStream; a fake of install_cart.sh logs its options."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, "7.1.0")
        shutil.copytree(ROOT / "jetson", self.checkout / "jetson")
        release = folder / "nv_tegra_release"
        release.touch()
        common = self.checkout / "scripts" / "common.sh"
        text = common.read_text(encoding="utf-8")
        assert "/etc/nv_tegra_release" in text
        common.write_text(text.replace("/etc/nv_tegra_release", str(release)))
        self.add_program("uname", "echo aarch64")
        (self.deepstream / "scripts").mkdir()
        setup = self.deepstream / "scripts" / "triton_backend_setup.sh"
        setup.write_text(TRITON_SETUP.format(folder=self.deepstream))
        cart = self.checkout / "scripts" / "install_cart.sh"
        cart.write_text(f'#!/bin/sh\necho "cart $*" >> {self.deepstream}/calls\n')

    def install(self, *options: str) -> subprocess.CompletedProcess[str]:
        return self.run("../jetson/install.sh", *options)


@pytest.fixture
def jetson(tmp_path: Path) -> Jetson:
    return Jetson(tmp_path)


def test_triton_setup_runs_until_it_has_succeeded_once(jetson: Jetson) -> None:
    (jetson.deepstream / "fail").touch()
    failed = jetson.install()
    assert failed.returncode == 2
    assert failed.stderr == (
        "install: NVIDIA's triton_backend_setup.sh failed (see above); "
        "run this again to restart it\n"
    )
    assert jetson.calls() == ["setup"]
    assert (jetson.deepstream / "lib" / "libtritonserver.so").exists()
    (jetson.deepstream / "fail").unlink()
    for options in ((), ("--service",)):
        result = jetson.install(*options)
        assert result.returncode == 0, result.stderr
    cart = "cart --platform jetson"
    assert jetson.calls() == ["setup", "setup", cart, f"{cart} --service"]


def test_unknown_option_ends_before_anything_runs_as_root(jetson: Jetson) -> None:
    result = jetson.install("--servcie")
    assert result.returncode == 2
    assert result.stderr == "install: unknown option '--servcie' (--help lists all options)\n"
    assert not (jetson.deepstream / "calls").exists()


def test_dry_run_prints_the_commands_and_writes_no_stamp(jetson: Jetson) -> None:
    result = jetson.install("--dry-run")
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines() == [
        f"+ bash {jetson.deepstream}/scripts/triton_backend_setup.sh",
        f"+ touch {jetson.deepstream}/.triton_backend_setup-done",
    ]
    assert not (jetson.deepstream / ".triton_backend_setup-done").exists()
    assert jetson.calls() == ["cart --platform jetson --dry-run"]


def test_dry_run_needs_no_deepstream(jetson: Jetson) -> None:
    shutil.rmtree(jetson.deepstream)
    (jetson.checkout / "scripts" / "install_cart.sh").write_text("#!/bin/sh\n")
    result = jetson.install("--dry-run")
    assert result.returncode == 0, result.stderr
    assert "triton_backend_setup.sh" in result.stdout
