"""Fixtures for plan builds without a GPU: a fake trtexec and a copy of the model repository.

The fake trtexec accepts trtexec's options, writes the files that NVIDIA's program writes, and
computes with ONNX Runtime. So these tests cover this project's code, but not TensorRT itself.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.xpnet.conftest import write_executable
from xpnet.errors import NotInstalled
from xpnet.paths import MODEL_REPOSITORY
from xpnet.tensorrt import plan_builder, python_api
from xpnet.tensorrt import trtexec as trtexec_module
from xpnet.tensorrt.plan_builder import PlanSettings, build_plan

FAKE_TRTEXEC = Path(__file__).with_name("fake_trtexec.py")
MODEL = "xpnet_lite"


@pytest.fixture
def fake_trtexec(
    tmp_path: Path, bin_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Path]:
    """Return a function that installs a fake trtexec on PATH, and returns its log of calls."""
    log = tmp_path / "calls.jsonl"
    _hide_tensorrt(monkeypatch)

    def install(version: int = 100600, failure: str = "") -> Path:
        write_executable(bin_dir / "trtexec", fake_trtexec_program(version, failure, log))
        return log

    return install


def fake_trtexec_program(version: int, failure: str, log: Path) -> str:
    """Return the text of a fake trtexec.

    Args:
        version: Version of TensorRT as trtexec prints it; 100600 is 10.6.0.
        failure: What goes wrong, see fake_trtexec.py; empty for nothing.
        log: File that the options of each call are appended to.
    """
    settings = f'VERSION, FAILURE, LOG = {version}, "{failure}", "{log}"'
    text = FAKE_TRTEXEC.read_text().replace('VERSION, FAILURE, LOG = 100600, "", ""', settings)
    assert settings in text
    return f"#!{sys.executable}\n{text}"


def calls(log: Path) -> list[dict[str, str]]:
    """Return the options of every call of the fake trtexec, in order."""
    return [json.loads(line) for line in log.read_text().splitlines()]


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Return a copy of the model repository with one model."""
    return _copy_models(MODEL_REPOSITORY, tmp_path / "models")


@pytest.fixture(scope="session")
def polyp_clip(frames: list[np.ndarray], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a clip of two real frames with polyps: decoding the demo clip takes longer."""
    path = tmp_path_factory.mktemp("polyp-clip") / "polyps.mp4"
    height, width = frames[0].shape[:2]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), 25, (width, height))
    for frame in frames[2:4]:
        writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
    writer.release()
    return path


@pytest.fixture
def settings(repository: Path, polyp_clip: Path, monkeypatch: pytest.MonkeyPatch) -> PlanSettings:
    """Return settings for a plan of `repository`, on a machine that reports an RTX 3070."""
    _report_rtx_3070(monkeypatch)
    return PlanSettings("rtx", MODEL, polyp_clip, precisions=("fp32",), repository=repository)


@pytest.fixture(scope="session")
def repository_with_plan(polyp_clip: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("built")
    repository = _copy_models(MODEL_REPOSITORY, folder / "models")
    write_executable(folder / "trtexec", fake_trtexec_program(100600, "", folder / "calls.jsonl"))
    with pytest.MonkeyPatch.context() as monkeypatch:
        _hide_tensorrt(monkeypatch)
        _report_rtx_3070(monkeypatch)
        monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)
        build_plan(
            PlanSettings("rtx", MODEL, polyp_clip, precisions=("fp32",), repository=repository)
        )
    return repository


@pytest.fixture
def settings_with_plan(
    settings: PlanSettings, repository_with_plan: Path, tmp_path: Path
) -> PlanSettings:
    """Return settings for a repository that already has the plan that they describe."""
    return replace(settings, repository=_copy_models(repository_with_plan, tmp_path / "built"))


def _copy_models(source: Path, target: Path) -> Path:
    for name in (MODEL, f"{MODEL}_onnx"):
        shutil.copytree(source / name, target / name, copy_function=_link_onnx_or_copy)
    return target


def _link_onnx_or_copy(source: str, target: str) -> None:
    """Copy a file; ONNX files, which no test changes, become links, because they are large."""
    if source.endswith(".onnx"):
        os.symlink(os.path.realpath(source), target)
    else:
        shutil.copy2(source, target)


def _hide_tensorrt(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a machine with TensorRT, such as a target, look like one without."""

    def not_installed() -> None:
        raise NotInstalled("a plan needs TensorRT, which is not installed: it comes")

    monkeypatch.setattr(python_api, "import_tensorrt", not_installed)
    monkeypatch.setattr(trtexec_module, "INSTALL_DIRECTORY", "")


def _report_rtx_3070(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        plan_builder, "describe_gpu", lambda _: {"gpu": "RTX 3070", "driver": "595.1"}
    )
    monkeypatch.setattr(plan_builder, "check_target", lambda _target, _dla: None)
    monkeypatch.setattr(plan_builder, "CHECK_FRAMES", 1)  # the fake trtexec starts for each frame
