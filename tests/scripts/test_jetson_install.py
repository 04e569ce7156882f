"""What jetson/install.sh does before scripts/install_cart.sh: NVIDIA's set-up of Triton, once.

A stand-in for triton_backend_setup.sh unpacks the library first, as NVIDIA's does (scripts of
github.com/NVIDIA/DeepStream), and may break off after it.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.scripts.test_target_install import Target

NVIDIAS = """#!/bin/bash
set -e
echo set up >> {folder}/asked
mkdir -p {folder}/lib && touch {folder}/lib/libtritonserver.so
[ ! -f {folder}/broken ]
"""


class Jetson(Target):
    """A Jetson with DeepStream; of install_cart.sh only what it is asked is kept."""

    def __init__(self, place: Path) -> None:
        super().__init__(place, "7.1.0")
        shutil.copytree(ROOT / "jetson", self.checkout / "jetson")
        release = place / "nv_tegra_release"
        release.touch()
        common = self.checkout / "scripts" / "common.sh"
        text = common.read_text(encoding="utf-8")
        assert "/etc/nv_tegra_release" in text
        common.write_text(text.replace("/etc/nv_tegra_release", str(release)))
        (self.programs / "uname").write_text("#!/bin/sh\necho aarch64\n")
        (self.programs / "uname").chmod(0o755)
        (self.deepstream / "scripts").mkdir()
        setup = self.deepstream / "scripts" / "triton_backend_setup.sh"
        setup.write_text(NVIDIAS.format(folder=self.deepstream))
        cart = self.checkout / "scripts" / "install_cart.sh"
        cart.write_text(f'#!/bin/sh\necho "cart $*" >> {self.deepstream}/asked\n')

    def install(self, *words: str) -> subprocess.CompletedProcess[str]:
        return self.run("../jetson/install.sh", *words)


@pytest.fixture
def jetson(tmp_path: Path) -> Jetson:
    return Jetson(tmp_path)


def test_triton_is_set_up_until_it_came_to_its_end(jetson: Jetson) -> None:
    (jetson.deepstream / "broken").touch()
    broken = jetson.install()
    assert broken.returncode == 2
    assert broken.stderr == (
        "install: NVIDIA's triton_backend_setup.sh broke off (see above); "
        "running it again starts afresh\n"
    )
    assert jetson.asked() == ["set up"]
    assert (jetson.deepstream / "lib" / "libtritonserver.so").exists()
    (jetson.deepstream / "broken").unlink()
    for words in ((), ("--service",)):
        result = jetson.install(*words)
        assert result.returncode == 0, result.stderr
    cart = "cart --platform jetson"
    assert jetson.asked() == ["set up", "set up", cart, f"{cart} --service"]


def test_nothing_runs_as_root_for_an_unknown_option(jetson: Jetson) -> None:
    result = jetson.install("--servcie")
    assert result.returncode == 2
    assert result.stderr == "install: unknown option '--servcie' (--help lists all)\n"
    assert not (jetson.deepstream / "asked").exists()


def test_a_dry_run_leaves_no_stamp(jetson: Jetson) -> None:
    result = jetson.install("--dry-run")
    assert result.returncode == 0, result.stderr
    setup = f"+ bash {jetson.deepstream}/scripts/triton_backend_setup.sh"
    stamp = f"+ touch {jetson.deepstream}/.triton_backend_setup-done"
    assert result.stdout.splitlines() == [setup, stamp]
    assert jetson.asked() == ["cart --platform jetson --dry-run"]


def test_a_dry_run_needs_no_deepstream(jetson: Jetson) -> None:
    """It once ended without a word there."""
    shutil.rmtree(jetson.deepstream)
    (jetson.checkout / "scripts" / "install_cart.sh").write_text("#!/bin/sh\n")
    shown = jetson.install("--dry-run")
    assert shown.returncode == 0, shown.stderr
    assert "triton_backend_setup.sh" in shown.stdout
