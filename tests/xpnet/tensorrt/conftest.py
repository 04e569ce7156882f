"""A target without its GPU: programs that take the places of NVIDIA's, and a repository of ours.

The stand-in for trtexec takes its options, writes the files that NVIDIA's program writes, and
computes with ONNX Runtime; so all that is ours runs, and nothing is said of TensorRT.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import CLIP
from tests.xpnet.conftest import write_program
from xpnet.errors import NotInstalled
from xpnet.paths import MODEL_REPOSITORY
from xpnet.tensorrt import plan_builder, python_api
from xpnet.tensorrt import trtexec as trtexec_module
from xpnet.tensorrt.plan_builder import PlanSettings

STAND_IN = Path(__file__).with_name("fake_trtexec.py")


@pytest.fixture
def trtexec(tmp_path: Path, programs: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Puts a stand-in on PATH; returns the file of its calls."""
    log = tmp_path / "calls.jsonl"

    def absent() -> None:
        raise NotInstalled("a plan needs TensorRT, which is not installed: it comes")

    monkeypatch.setattr(python_api, "tensorrt", absent)  # a target has it, and more of trtexec
    monkeypatch.setattr(trtexec_module, "PLACES", "")

    def put(number: int = 100600, mood: str = "") -> Path:
        write_program(programs / "trtexec", stand_in(number, mood, log))
        return log

    return put


def stand_in(number: int, mood: str, log: Path) -> str:
    """The program's text. `number` is TensorRT's, `mood` what goes wrong, `log` gets the calls."""
    settings = f'NUMBER, MOOD, LOG = {number}, "{mood}", "{log}"'
    text = STAND_IN.read_text().replace('NUMBER, MOOD, LOG = 100600, "", ""', settings)
    return f"#!{sys.executable}\n{text}"


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "models"
    for name in ("xpnet_lite", "xpnet_lite_onnx"):
        shutil.copytree(MODEL_REPOSITORY / name, folder / name)
    return folder


@pytest.fixture
def settings(repository: Path, monkeypatch: pytest.MonkeyPatch) -> PlanSettings:
    monkeypatch.setattr(
        plan_builder, "describe_gpu", lambda _: {"gpu": "RTX 3070", "driver": "595.1"}
    )
    monkeypatch.setattr(plan_builder, "check_target", lambda _target, _dla: None)
    monkeypatch.setattr(plan_builder, "FRAMES", 2)  # each starts the stand-in anew
    return PlanSettings("rtx", "xpnet_lite", CLIP, precisions=("fp32",), repository=repository)


def calls(log: Path) -> list[dict[str, str]]:
    """Options of every call, in order."""
    return [json.loads(line) for line in log.read_text().splitlines()]
