"""The list of checksums: it is that of the files, it is checked at load, and it can be signed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import ROOT, one_line
from xpnet.checksums import LISTED, as_text, current_checksums, differences, read_checksums
from xpnet.errors import UserError

MODEL = "triton_models/xpnet_lite_onnx/1/model.onnx"
CARD = "triton_models/xpnet_lite_onnx/card.json"
WEIGHTS = "training/weights/lite.safetensors"
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the project that a test may damage; its code runs from there."""
    folder = tmp_path / "copy"
    for name in ("xpnet", "training", "deepstream", "scripts"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for pattern in (*LISTED, "triton_models/*/config.pbtxt", "triton_models/*/1/model.py"):
        for path in ROOT.glob(pattern):
            target = folder / path.relative_to(ROOT)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, target)
    for name in ("model-files.sha256", "docs/demo/colonoscopy.mp4"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, folder / name)
    return folder


@pytest.fixture
def run(copy: Path) -> Run:
    """Run `xpnet ARGUMENTS` of the copy."""

    def call(*arguments: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "xpnet.cli", *map(str, arguments)]
        return subprocess.run(
            command, cwd=copy, capture_output=True, text=True, timeout=120, check=False,
            env={**os.environ, "PYTHONPATH": str(copy)},
        )  # fmt: skip

    return call


def damage(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def sign(copy: Path, key: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [str(copy / "scripts" / "sign_checksums.sh"), *options, str(key)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def make_key(folder: Path, name: str) -> Path:
    """Make a key without a passphrase, and NAME.signers, which accepts it."""
    key = folder / name
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(key)]
    subprocess.run(command, check=True)
    kind, public, _ = key.with_suffix(".pub").read_text().split()
    key.with_suffix(".signers").write_text(f"{name}@example.org {kind} {public}\n")
    return key


def test_list_is_what_the_command_makes() -> None:
    assert (ROOT / "model-files.sha256").read_text() == as_text(current_checksums())
    assert differences(current_checksums()) == []
    assert {MODEL, CARD, WEIGHTS} <= read_checksums().keys()


def test_sha256sum_accepts_the_list() -> None:
    command = ["sha256sum", "--check", "--strict", "--quiet", "model-files.sha256"]
    assert subprocess.run(command, cwd=ROOT, check=False).returncode == 0


@pytest.mark.parametrize(
    ("name", "command"),
    [
        (MODEL, ["run", "demo", "--backend", "onnxruntime", "--output", "none"]),
        (MODEL, ["serve", "--model", "xpnet_lite_onnx"]),
        (CARD, ["serve", "--model", "xpnet_lite_onnx"]),
        (WEIGHTS, ["export", WEIGHTS, "--output", "out.onnx"]),
        ("training/weights/lite.json", ["export", WEIGHTS, "--output", "out.onnx"]),
    ],
)
def test_damaged_file_is_not_loaded(copy: Path, run: Run, name: str, command: list[str]) -> None:
    damage(copy / name)
    (copy / ".triton").symlink_to(ROOT / ".triton")
    line = one_line(run(*command))
    assert f"{name}: SHA-256 is " in line
    assert "model-files.sha256 has " in line


def test_file_that_is_not_listed_is_loaded(copy: Path, run: Run) -> None:
    shutil.copy(copy / WEIGHTS, copy / "training" / "weights" / "mine.safetensors")
    shutil.copy(copy / "training/weights/lite.json", copy / "training" / "weights" / "mine.json")
    done = run("export", "training/weights/mine.safetensors", "--output", "out.onnx")
    assert done.returncode == 0, done.stderr
    assert "mine.safetensors: is not listed" in one_line(run("doctor", "checksums"))


def test_export_into_the_repository_updates_the_list(copy: Path, run: Run) -> None:
    before = read_checksums(copy / "model-files.sha256")
    done = run("export", WEIGHTS, "--size", "192")
    assert done.returncode == 0, done.stderr
    after = read_checksums(copy / "model-files.sha256")
    changed = {name for name in before if after[name] != before[name]}
    assert changed == {MODEL, CARD, "triton_models/xpnet_lite/card.json"}
    assert run("doctor", "checksums").returncode == 0


def test_missing_list_and_wrong_line_give_one_line(copy: Path, run: Run) -> None:
    path = copy / "model-files.sha256"
    path.write_text(path.read_text() + "nonsense\n")
    assert "line 19: expected 64 hexadecimal digits" in one_line(run("doctor", "checksums"))
    path.unlink()
    assert "cannot be read" in one_line(run("export", WEIGHTS, "--output", "out.onnx"))
    assert run("doctor", "checksums", "--write").returncode == 0
    assert path.read_bytes() == (ROOT / "model-files.sha256").read_bytes()


def test_missing_file_is_reported(copy: Path, run: Run) -> None:
    (copy / MODEL).unlink()
    assert f"{MODEL}: is listed but missing" in one_line(run("doctor", "checksums"))


def test_signature_of_an_accepted_key_is_valid(copy: Path, run: Run, tmp_path: Path) -> None:
    key = make_key(tmp_path, "fleet")
    verify = ("doctor", "checksums", "--verify-signature", key.with_suffix(".signers"))
    assert "no signature of model-files.sha256" in one_line(run(*verify))
    assert sign(copy, key).returncode == 0
    done = run(*verify)
    assert done.returncode == 0, done.stderr
    assert "as listed, signed by fleet@example.org" in done.stdout


def test_signature_of_another_key_is_refused(copy: Path, run: Run, tmp_path: Path) -> None:
    accepted, other = make_key(tmp_path, "fleet"), make_key(tmp_path, "other")
    sign(copy, other)
    verify = ("doctor", "checksums", "--verify-signature", accepted.with_suffix(".signers"))
    assert "is not by a key of" in one_line(run(*verify))


def test_signature_of_a_changed_list_is_refused(copy: Path, run: Run, tmp_path: Path) -> None:
    key = make_key(tmp_path, "fleet")
    sign(copy, key)
    damage(copy / MODEL)
    assert run("doctor", "checksums", "--write").returncode == 0
    assert run("doctor", "checksums").returncode == 0
    verify = ("doctor", "checksums", "--verify-signature", key.with_suffix(".signers"))
    assert "is not valid for model-files.sha256" in one_line(run(*verify))


def test_signature_for_another_purpose_is_refused(copy: Path, run: Run, tmp_path: Path) -> None:
    """A signed list of release files cannot replace the list of models."""
    key = make_key(tmp_path, "fleet")
    release = copy / "build" / "release" / "SHA256SUMS"
    release.parent.mkdir(parents=True)
    release.write_text("")
    for folder in ("training", "triton_models"):  # sha256sum finds the files beside the list
        (release.parent / folder).symlink_to(copy / folder)
    shutil.copy(copy / "model-files.sha256", release)
    assert sign(copy, key, "--release").returncode == 0
    shutil.copy(f"{release}.sig", copy / "model-files.sha256.sig")
    verify = ("doctor", "checksums", "--verify-signature", key.with_suffix(".signers"))
    assert "is not valid for model-files.sha256" in one_line(run(*verify))


def test_list_that_differs_from_the_files_is_not_signed(copy: Path, tmp_path: Path) -> None:
    damage(copy / MODEL)
    done = sign(copy, make_key(tmp_path, "fleet"))
    assert done.returncode == 2
    assert "nothing was signed" in done.stderr
    assert not (copy / "model-files.sha256.sig").exists()


def test_malformed_list_names_file_and_line(tmp_path: Path) -> None:
    path = tmp_path / "list"
    path.write_text(f"{'0' * 64}  a\n{'0' * 63}  b\n")
    with pytest.raises(UserError, match="list, line 2: expected 64"):
        read_checksums(path)
