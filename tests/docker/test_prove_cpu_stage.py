"""The proof of stage `cpu` reads the Dockerfile as Docker does, and rejects what it cannot do."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docker.prove_cpu_stage import (
    DEFAULT_PATH,
    Image,
    container_command,
    execute_instruction,
    stage_instructions,
)
from xpnet.paths import ROOT


@pytest.fixture
def image(tmp_path: Path) -> Image:
    return Image(tmp_path / "root")


def test_stage_includes_the_instructions_of_its_base() -> None:
    cpu, test = list(stage_instructions("cpu")), list(stage_instructions("test"))
    assert test[: len(cpu)] == cpu
    assert ("COPY", "requirements.txt ./") in cpu


def test_instructions_set_the_settings_of_the_image(image: Image) -> None:
    for instruction, value in (
        ("ENV", "PATH=/opt/bin:$PATH HOME=/tmp"),
        ("WORKDIR", "/opt/xpnet"),
        ("USER", "10001:10001"),
        ("STOPSIGNAL", "SIGINT"),
        ("HEALTHCHECK", '--interval=10s CMD ["docker/healthcheck.sh"]'),
        ("ENTRYPOINT", '["xpnet"]'),
        ("CMD", '["serve"]'),
    ):
        execute_instruction(image, instruction, value)
    assert image.env == {"PATH": f"/opt/bin:{DEFAULT_PATH}", "HOME": "/tmp"}
    assert (image.workdir, image.user, image.stop) == ("/opt/xpnet", "10001:10001", signal.SIGINT)
    assert (image.entrypoint, image.command) == (["xpnet"], ["serve"])
    assert image.health == ["docker/healthcheck.sh"]


def test_unsupported_instruction_ends_the_proof(image: Image) -> None:
    with pytest.raises(SystemExit, match="2"):
        execute_instruction(image, "SHELL", '["/bin/bash"]')


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="no git checkout")
def test_copy_takes_the_files_that_git_tracks(image: Image) -> None:
    execute_instruction(image, "WORKDIR", "/opt/xpnet")
    execute_instruction(image, "COPY", "scripts/common.sh scripts/setup.sh scripts/")
    folder = image.root / "opt" / "xpnet"
    assert sorted(p.name for p in (folder / "scripts").iterdir()) == ["common.sh", "setup.sh"]
    assert os.access(folder / "scripts" / "setup.sh", os.X_OK)
    execute_instruction(image, "COPY", ". .")
    assert (folder / "xpnet" / "cli.py").read_bytes() == (ROOT / "xpnet" / "cli.py").read_bytes()
    assert not {".git", ".venv", ".triton", "build"} & {p.name for p in folder.iterdir()}


def test_folder_with_a_space_is_one_word_of_the_shell_commands(tmp_path: Path) -> None:
    folder = tmp_path / "a proof"
    folder.mkdir()
    image = Image(folder / "root", user=f"{os.getuid()}:{os.getgid()}")
    call = container_command(image, folder, [])
    (script,) = (word for word in call if "mount --bind" in word)
    lines = [shlex.split(line) for line in script.splitlines()]
    assert ["mount", "--bind", str(image.root), str(image.root)] in lines
    assert ["mount", "--bind", str(folder / "data"), f"{image.root}/data"] in lines
    assert ["touch", f"{image.root}/dev/null"] in lines
    assert not [line for line in lines if "proof" in line[0]]
    assert all(len([word for word in line if "proof" in word]) <= 2 for line in lines)


def test_folder_of_an_earlier_proof_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    command = [sys.executable, "-m", "tests.docker.prove_cpu_stage", str(tmp_path)]
    result = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert result.returncode == 2
    (line,) = result.stderr.splitlines()
    assert line.startswith("prove_cpu_stage: ")
    assert "exists: give another folder" in line or "needs " in line
