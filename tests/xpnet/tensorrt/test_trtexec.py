"""What trtexec is asked for, by its version, and what is made of how it ends.

The stand-in refuses an option that trtexec of that version does not know.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.xpnet.tensorrt.conftest import calls, write_program
from xpnet.card import read_card
from xpnet.errors import UserError
from xpnet.tensorrt.engine_inference import check_version
from xpnet.tensorrt.plan_builder import PlanSettings, build_plan, find_tool
from xpnet.tensorrt.trtexec import Trtexec


@pytest.mark.parametrize(
    ("number", "version"),
    [(100300, "10.3.0"), (100600, "10.6.0"), (101600, "10.16.0"), (110401, "11.4.1")],
)
def test_versions_are_read(trtexec, number: int, version: str) -> None:
    trtexec(number)
    assert find_tool().version == version


def test_wrong_versions_and_none_are_named(
    trtexec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trtexec(8601)
    with pytest.raises(UserError, match=r"TensorRT 8\.6\.1: expected 10 or 11"):
        find_tool()
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match="a plan needs TensorRT, which is not installed: it comes"):
        find_tool()
    check_version("11.0.0.1")


@pytest.mark.parametrize("number", [100300, 110100])
def test_copies_are_timed_by_every_version(trtexec, settings: PlanSettings, number: int) -> None:
    """TensorRT 11 leaves them out unless told otherwise, and 10 does not know that option."""
    log = trtexec(number)
    card = build_plan(settings)
    assert card.graph["timed_by"] == "trtexec, with CUDA graphs, copies included"
    runs = [call for call in calls(log) if "loadEngine" in call]
    assert all(("includeDataTransfers" in run) == (number >= 110000) for run in runs)


@pytest.mark.parametrize("number", [100300, 110401])
def test_the_accelerator_is_asked_for_as_each_version_knows_it(
    trtexec, settings: PlanSettings, tmp_path: Path, number: int
) -> None:
    log = trtexec(number)
    card = build_plan(replace(settings, dla=0, precisions=("fp16",)))
    assert (card.graph["dla"], card.graph["max_batch"]) == (0, 1)
    assert card.graph["timed_by"] == "trtexec, without CUDA graphs, copies included"
    built = next(call for call in calls(log) if "onnx" in call)
    assert (built["useDLACore"], built["maxShapes"]) == ("0", "frames:1x3x256x256")
    assert "allowGPUFallback" in built
    assert "stronglyTyped" not in built  # refused beside the FP16 flag that trtexec 10 sets itself
    ran = calls(log)[-1]
    assert ran["useDLACore"] == "0"  # where it runs, not only where it is built
    assert "useCudaGraph" not in ran
    card = read_card(settings.repository / "xpnet_lite" / "card.json")
    onnx = settings.repository / "xpnet_lite_onnx" / "1" / "model.onnx"
    tool = Trtexec(str(tmp_path / "bin" / "trtexec"))
    tool.build(onnx, card, tmp_path / "x.plan", 1, tmp_path / "cache")
    assert calls(log)[-1]["useDLACore"] == "1"


@pytest.mark.parametrize(
    ("mood", "reason"),
    [
        ("fails", r"Error\[4\]: no such tactic"),
        ("no-gpu", "Cuda failure: no CUDA-capable device is detected"),
        ("killed", r"killed by SIGKILL: was the memory full\?"),
        ("crashes", "killed by SIGABRT: terminate called after throwing an instance of"),
    ],
)
def test_the_reason_of_its_end_is_told(
    trtexec, settings: PlanSettings, mood: str, reason: str
) -> None:
    trtexec(mood=mood)
    with pytest.raises(UserError, match=rf"cannot build a plan of .*model\.onnx: {reason}"):
        build_plan(settings)


def test_what_cannot_be_run_is_named(trtexec, programs: Path) -> None:
    trtexec()
    write_program(programs / "trtexec", "\x7fELF of another machine")
    with pytest.raises(UserError, match="trtexec: cannot be run: Exec format error"):
        find_tool()
    write_program(programs / "trtexec", "#!/bin/sh\necho hello\n")
    with pytest.raises(UserError, match="trtexec --help: says no version"):
        find_tool()
