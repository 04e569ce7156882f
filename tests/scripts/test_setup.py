"""scripts/setup.sh on a checkout that was moved, linked, or has another commit."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from xpnet.paths import ROOT

OFFLINE = {"PIP_NO_INDEX": "1", "PIP_CONFIG_FILE": os.devnull}


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    folder = tmp_path / "checkout"
    shutil.copytree(ROOT / "scripts", folder / "scripts")
    (folder / "requirements.txt").write_text("")
    return folder


def setup(checkout: Path, step: str, **variables: str) -> str:
    """Run a step and return its output."""
    done = subprocess.run(
        [checkout / "scripts" / "setup.sh", "--step", step],
        env=os.environ | OFFLINE | variables, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_venv_of_another_checkout_is_made_anew_unless_it_is_a_link(
    checkout: Path, tmp_path: Path
) -> None:
    assert "creating .venv" in setup(checkout, "python")
    assert "creating .venv" not in setup(checkout, "python")
    moved = checkout.rename(tmp_path / "moved")
    assert "creating .venv" in setup(moved, "python")
    assert "creating .venv" not in setup(moved, "python")
    linked = tmp_path / "linked"
    shutil.copytree(moved / "scripts", linked / "scripts")
    (linked / "requirements.txt").write_text("")
    (linked / ".venv").symlink_to(moved / ".venv")
    assert setup(linked, "python") == ""


def test_project_is_installed_again_at_another_commit_only(checkout: Path, tmp_path: Path) -> None:
    """With a fake Python, which claims that xpnet is installed."""
    programs = checkout / ".venv" / "bin"
    programs.mkdir(parents=True)
    for name in ("python", "xpnet"):
        (programs / name).write_text("#!/bin/sh\n")
        (programs / name).chmod(0o755)

    def git(*words: str) -> None:
        names = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
        subprocess.run(["git", *names, *words], cwd=checkout, check=True, capture_output=True)

    def installs() -> bool:
        return "installing xpnet in place" in setup(checkout, "project")

    # A folder above the one of the test may be a repository.
    text = setup(checkout, "project", GIT_CEILING_DIRECTORIES=str(tmp_path))
    assert "in place (no git)" in text
    (checkout / ".gitignore").write_text(".venv\n")
    git("init", "--quiet")
    git("add", "-A")
    git("commit", "--quiet", "-m", "one")
    assert [installs(), installs()] == [True, False]
    (checkout / "requirements.txt").write_text("# changed\n")
    assert not installs()
    git("commit", "--quiet", "-am", "two")
    assert [installs(), installs()] == [True, False]
    git("tag", "v1.2.3")
    (checkout / "requirements.txt").write_text("# changed again\n")
    assert [installs(), installs()] == [True, False]
    git("checkout", "--quiet", "requirements.txt")
    assert [installs(), installs()] == [True, False], "installed from a changed tree"
    (checkout / ".venv").rename(tmp_path / "venv")
    (checkout / ".venv").symlink_to(tmp_path / "venv")
    git("tag", "v1.2.4", "-m", "x")
    assert not installs()
