"""The proof of stage `cpu`: that it reads the Dockerfile as Docker does, and refuses the rest."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.docker.prove_cpu_stage import PATHS, Image, carry_out, stage_instructions


@pytest.fixture
def image(tmp_path: Path) -> Image:
    return Image(tmp_path / "root")


def test_a_stage_holds_those_below_it() -> None:
    cpu, test = list(stage_instructions("cpu")), list(stage_instructions("test"))
    assert test[: len(cpu)] == cpu
    assert ("COPY", "requirements.txt ./") in cpu


def test_settings_of_an_image(image: Image) -> None:
    for instruction, words in (
        ("ENV", "PATH=/opt/bin:$PATH HOME=/tmp"),
        ("WORKDIR", "/opt/xpnet"),
        ("USER", "10001:10001"),
        ("STOPSIGNAL", "SIGINT"),
        ("HEALTHCHECK", '--interval=10s CMD ["docker/healthcheck.sh"]'),
        ("ENTRYPOINT", '["xpnet"]'),
        ("CMD", '["serve"]'),
    ):
        carry_out(image, instruction, words)
    assert image.env == {"PATH": f"/opt/bin:{PATHS}", "HOME": "/tmp"}
    assert (image.workdir, image.user, image.stop) == ("/opt/xpnet", "10001:10001", signal.SIGINT)
    assert (image.entrypoint, image.command) == (["xpnet"], ["serve"])
    assert image.health == ["docker/healthcheck.sh"]
    with pytest.raises(SystemExit, match="2"):
        carry_out(image, "SHELL", '["/bin/bash"]')


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="no git checkout")
def test_what_is_copied_is_what_git_holds(image: Image) -> None:
    carry_out(image, "WORKDIR", "/opt/xpnet")
    carry_out(image, "COPY", "scripts/common.sh scripts/setup.sh scripts/")
    place = image.root / "opt" / "xpnet"
    assert sorted(p.name for p in (place / "scripts").iterdir()) == ["common.sh", "setup.sh"]
    assert os.access(place / "scripts" / "setup.sh", os.X_OK)
    carry_out(image, "COPY", ". .")
    assert (place / "xpnet" / "cli.py").read_bytes() == (ROOT / "xpnet" / "cli.py").read_bytes()
    assert not {".git", ".venv", ".triton", "build"} & {p.name for p in place.iterdir()}


def test_a_folder_that_holds_a_proof_is_refused(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    command = [sys.executable, "-m", "tests.docker.prove_cpu_stage", str(tmp_path)]
    result = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert result.returncode == 2
    (line,) = result.stderr.splitlines()
    assert line.startswith("prove_cpu_stage: ")
    assert "exists: give another folder" in line or "needs " in line
