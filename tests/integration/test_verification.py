"""`xpnet doctor verify` on a machine without a GPU."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from xpnet.host.nvidia_software import detect_nvidia_software
from xpnet.paths import MODEL_REPOSITORY, onnx_path

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(
        shutil.which("nvidia-smi") is not None or detect_nvidia_software().jetson,
        reason="expects the report of a machine without a GPU",
    ),
]

GPU_CLAIMS = ("plans", "cuda-graphs", "deepstream-graph", "gpu-tests")


def test_cpu_checks_pass_and_gpu_checks_are_skipped_with_a_reason(xpnet, tmp_path: Path) -> None:
    report_file = tmp_path / "report.md"
    cpu_claims = ("reference-masks", "served-masks", "triton-masks", "loopback")
    skipped = (*GPU_CLAIMS, "deepstream-app")
    result = xpnet("doctor", "verify", "--only", *cpu_claims, *skipped, "--output", report_file)
    assert result.returncode == 0, result.stderr
    report = json.loads(report_file.with_suffix(".json").read_text())
    states = {claim["id"]: claim["state"] for claim in report["claims"]}
    assert states == dict.fromkeys(cpu_claims, "passed") | dict.fromkeys(skipped, "skipped")
    reasons = {claim["id"]: claim["found"] for claim in report["claims"]}
    for name in GPU_CLAIMS:
        assert reasons[name] == "no NVIDIA driver on this machine: nvidia-smi is missing"
    assert "deepstream-app is not installed" in reasons["deepstream-app"]
    assert "9 claims: 4 passed, 0 failed, 5 skipped." in report_file.read_text()
    assert {value["unit"] for value in report["figures"]} == {"ms a frame"}


def test_graph_draws_the_reference_masks_and_continues_without_its_server(
    xpnet, tmp_path: Path
) -> None:
    report_file = tmp_path / "report.md"
    claims = ("graph-masks", "nothing-else-written", "video-after-server-loss")
    result = xpnet("doctor", "verify", "--only", *claims, "--output", report_file)
    assert result.returncode == 0, result.stdout
    report = json.loads(report_file.with_suffix(".json").read_text())
    assert [claim["state"] for claim in report["claims"]] == ["passed"] * 3


def test_failed_check_gives_exit_code_1(xpnet, tmp_path: Path) -> None:
    repository = tmp_path / "models"
    shutil.copytree(MODEL_REPOSITORY / "xpnet_onnx", repository / "xpnet_onnx")
    shutil.copy(
        onnx_path(MODEL_REPOSITORY / "xpnet_lite_onnx"), onnx_path(repository / "xpnet_onnx")
    )
    report_file = tmp_path / "report.md"
    result = xpnet("doctor", "verify", "--only", "reference-masks", "--repository", repository,
                   "--output", report_file)  # fmt: skip
    assert result.returncode == 1
    assert "| **failed** |" in report_file.read_text()
    assert "the card of xpnet_onnx is another one" in result.stdout
