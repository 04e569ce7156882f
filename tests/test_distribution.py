"""What a wheel contains; `make wheel-proof` installs it and runs the demo."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from scripts.pages.soup import pins
from tests.conftest import ROOT


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The content of a wheel, from a checkout that also has a plan of this machine."""
    work = tmp_path_factory.mktemp("build")
    source = work / "source"
    source.mkdir()
    for path in ROOT.iterdir():
        if path.name not in ("build", ".git", ".venv", ".triton", "triton_models"):
            (source / path.name).symlink_to(path)
    for path in (ROOT / "triton_models").rglob("*.*"):
        if path.is_file():
            copy = source / path.relative_to(ROOT)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.symlink_to(path)
    (source / "triton_models" / "xpnet_lite" / "1").mkdir(exist_ok=True)
    (source / "triton_models" / "xpnet_lite" / "1" / "other.plan").write_bytes(b"a plan")
    code = (
        "import runpy, sys; sys.argv = ['setup.py', '-q', 'egg_info', '-e', '.', 'build', "
        f"'--build-base', {str(work / 'base')!r}, '--build-lib', {str(work / 'lib')!r}]; "
        "import setup"
    )
    setup = (ROOT / "setup.py").read_text(encoding="utf-8")
    (source / "setup.py").unlink()
    (source / "setup.py").write_text(setup, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=source, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return work / "lib"


def test_wheel_contains_models_weights_and_demo(built: Path) -> None:
    files = built / "xpnet" / "files"
    tracked = subprocess.run(
        ["git", "ls-files", "triton_models", "training/weights", "training/configs", "docs/demo"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if tracked.returncode != 0:
        pytest.skip("no git checkout")
    for name in tracked.stdout.splitlines():
        assert (files / name).read_bytes() == (ROOT / name).read_bytes(), name


def test_wheel_contains_pages_and_tables_of_the_packages(built: Path) -> None:
    for name in ("deepstream/control/page.html", "training/export/forms/student.cpu.json"):
        assert (built / name).is_file(), name


def test_files_of_an_installed_wheel_are_as_listed(built: Path, tmp_path: Path) -> None:
    code = "import xpnet.checksums as c; print(c.differences(c.current_checksums()), c.CHECKSUMS)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True,
        env={"PYTHONPATH": str(built), "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    assert done.stdout.split() == ["[]", str(built / "xpnet" / "files" / "model-files.sha256")]


def test_wheel_contains_no_plan_and_no_tests(built: Path) -> None:
    assert not list(built.rglob("*.plan"))
    assert not (built / "tests").exists()


def test_paths_of_an_installed_wheel(built: Path, tmp_path: Path) -> None:
    code = (
        "from xpnet import paths; print(paths.IN_CHECKOUT, paths.DEMO_CLIP.is_file(), "
        "(paths.MODEL_REPOSITORY / 'xpnet_lite_onnx' / 'card.json').is_file(), paths.BUILD, "
        "paths.setup_command('train'))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True,
        env={"PYTHONPATH": str(built), "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    assert done.stdout.strip() == "False True True build pip install 'xpnet[train]'"


def test_a_package_has_the_same_pin_in_all_files() -> None:
    """Otherwise the order of the files decides which version is installed."""
    found: dict[str, dict[str, str]] = {}
    for path in ROOT.glob("requirements*.txt"):
        for name, version in pins(path).items():
            found.setdefault(name.lower().replace("_", "-"), {})[path.name] = version
    assert {name: files for name, files in found.items() if len(set(files.values())) > 1} == {}
