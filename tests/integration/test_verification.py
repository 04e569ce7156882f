"""`xpnet doctor verify` on a machine without a GPU, and where a claim does not hold."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from xpnet.host.nvidia_software import detect_nvidia_software
from xpnet.paths import MODEL_REPOSITORY

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(
        shutil.which("nvidia-smi") is not None or detect_nvidia_software().jetson,
        reason="tells what a machine without a GPU tells",
    ),
]

NEED_A_GPU = ("plans", "cuda-graphs", "deepstream-graph", "gpu-tests")


def test_what_runs_here_holds_and_the_rest_has_its_reason(xpnet, tmp_path: Path) -> None:
    report = tmp_path / "report.md"
    ran = ("reference-masks", "served-masks", "triton-masks", "loopback")
    result = xpnet("doctor", "verify", "--only", *ran, *NEED_A_GPU, "deepstream-app", "--output",
                   report)  # fmt: skip
    assert result.returncode == 0, result.stderr
    found = json.loads(report.with_suffix(".json").read_text())
    states = {claim["id"]: claim["state"] for claim in found["claims"]}
    assert states == dict.fromkeys(ran, "held") | dict.fromkeys(
        (*NEED_A_GPU, "deepstream-app"), "skipped"
    )
    reasons = {claim["id"]: claim["found"] for claim in found["claims"]}
    for name in NEED_A_GPU:
        assert reasons[name] == "no NVIDIA driver on this machine: no nvidia-smi"
    assert "no deepstream-app on this machine" in reasons["deepstream-app"]
    assert "of 9 claims 4 held, 0 did not, 5 could not be checked here" in report.read_text()
    assert {figure["unit"] for figure in found["figures"]} == {"ms a frame"}


def test_the_graph_marks_what_is_stored_and_goes_on_without_its_server(
    xpnet, tmp_path: Path
) -> None:
    report = tmp_path / "report.md"
    names = ("graph-masks", "nothing-else-written", "video-goes-on")
    result = xpnet("doctor", "verify", "--only", *names, "--output", report)
    assert result.returncode == 0, result.stdout
    found = json.loads(report.with_suffix(".json").read_text())
    assert [claim["state"] for claim in found["claims"]] == ["held"] * 3


def test_a_claim_that_does_not_hold_ends_with_1(xpnet, tmp_path: Path) -> None:
    repository = tmp_path / "models"
    shutil.copytree(MODEL_REPOSITORY / "xpnet_onnx", repository / "xpnet_onnx")
    onnx = repository / "xpnet_onnx" / "1" / "model.onnx"
    onnx.write_bytes((MODEL_REPOSITORY / "xpnet_lite_onnx" / "1" / "model.onnx").read_bytes())
    report = tmp_path / "report.md"
    result = xpnet("doctor", "verify", "--only", "reference-masks", "--repository", repository,
                   "--output", report)  # fmt: skip
    assert result.returncode == 1
    assert "**not held** |" in report.read_text()
    assert "masks of other weights than xpnet_onnx has" in result.stdout
