"""The options that trtexec is called with, for each version, and the errors it ends with.

The fake trtexec rejects an option that trtexec of its version does not know.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.xpnet.conftest import write_executable
from tests.xpnet.tensorrt.conftest import MODEL, calls
from xpnet.card import read_card
from xpnet.errors import UserError
from xpnet.paths import card_path, onnx_path
from xpnet.tensorrt.plan_backend import find_plan_backend
from xpnet.tensorrt.plan_builder import PlanSettings, build_plan
from xpnet.tensorrt.trtexec import Trtexec


@pytest.mark.parametrize(
    ("number", "version"),
    [(100300, "10.3.0"), (100600, "10.6.0"), (101600, "10.16.0"), (110401, "11.4.1")],
)
def test_version_is_read_from_the_help(fake_trtexec, number: int, version: str) -> None:
    fake_trtexec(number)
    assert find_plan_backend().version == version


def test_tensorrt_8_is_rejected(fake_trtexec) -> None:
    fake_trtexec(8601)
    with pytest.raises(UserError, match=r"TensorRT 8\.6\.1: expected 10 or 11"):
        find_plan_backend()


def test_machine_without_tensorrt_gives_one_line(
    fake_trtexec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match="a plan needs TensorRT, which is not installed: it comes"):
        find_plan_backend()


@pytest.mark.parametrize("number", [100300, 110100])
def test_timing_includes_the_copies_in_every_version(
    fake_trtexec, settings: PlanSettings, number: int
) -> None:
    """TensorRT 11 needs an option for this, which TensorRT 10 does not know."""
    log = fake_trtexec(number)
    card = build_plan(settings)
    assert card.graph["timed_by"] == "trtexec, with CUDA graphs, copies included"
    runs = [call for call in calls(log) if "loadEngine" in call]
    assert all(("includeDataTransfers" in run) == (number >= 110000) for run in runs)


@pytest.mark.parametrize("number", [100300, 110401])
def test_dla_is_used_to_build_and_to_run(fake_trtexec, settings: PlanSettings, number: int) -> None:
    log = fake_trtexec(number)
    card = build_plan(replace(settings, dla=0, precisions=("fp16",)))
    assert card.graph["timed_by"] == "trtexec, without CUDA graphs, copies included"
    build = next(call for call in calls(log) if "onnx" in call)
    assert (build["useDLACore"], build["maxShapes"]) == ("0", "frames:1x3x256x256")
    assert "allowGPUFallback" in build
    assert "stronglyTyped" not in build  # not allowed with the FP16 flag that trtexec 10 sets
    run = calls(log)[-1]
    assert run["useDLACore"] == "0"
    assert "useCudaGraph" not in run


def test_second_dla_core_can_be_selected(
    fake_trtexec, repository: Path, bin_dir: Path, tmp_path: Path
) -> None:
    log = fake_trtexec()
    card = read_card(card_path(repository / MODEL))
    onnx = onnx_path(repository / f"{MODEL}_onnx")
    Trtexec(str(bin_dir / "trtexec")).build(onnx, card, tmp_path / "x.plan", 1, tmp_path / "cache")
    assert calls(log)[-1]["useDLACore"] == "1"


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        ("build-error", r"Error\[4\]: no such tactic"),
        ("no-gpu", "Cuda failure: no CUDA-capable device is detected"),
        ("killed", "killed by SIGKILL, possibly because memory ran out"),
        ("aborted", "killed by SIGABRT: terminate called after throwing an instance of"),
    ],
)
def test_failed_build_gives_the_reason_of_trtexec(
    fake_trtexec, settings: PlanSettings, failure: str, reason: str
) -> None:
    fake_trtexec(failure=failure)
    with pytest.raises(UserError, match=rf"cannot build a plan of .*model\.onnx: {reason}"):
        build_plan(settings)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("\x7fELF of another machine", "trtexec: cannot be run: Exec format error"),
        ("#!/bin/sh\necho hello\n", "trtexec --help: no version found"),
    ],
)
def test_program_that_is_not_trtexec_gives_one_line(
    fake_trtexec, bin_dir: Path, text: str, message: str
) -> None:
    fake_trtexec()
    write_executable(bin_dir / "trtexec", text)
    with pytest.raises(UserError, match=message):
        find_plan_backend()
