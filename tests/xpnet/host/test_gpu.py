"""The GPU of this machine from nvidia-smi's output."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.xpnet.conftest import write_executable
from xpnet.errors import UserError
from xpnet.host import gpu
from xpnet.host.gpu import describe_gpu

TWO = """#!/bin/sh
echo "NVIDIA T400, 595.1, GPU-1a"
echo "NVIDIA GeForce RTX 3070 Laptop GPU, 595.1, GPU-2b"
"""


def test_gpu_and_driver_are_returned(nvidia_smi) -> None:
    assert describe_gpu("rtx") == {"gpu": "RTX 3070", "driver": "595.1"}


def test_gpu_of_several_kinds_is_selected_by_uuid(
    bin_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_executable(bin_dir / "nvidia-smi", TWO)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    with pytest.raises(UserError, match=r"several kinds of GPU: .*RTX 3070.*, NVIDIA T400"):
        describe_gpu("rtx")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-2b")
    assert describe_gpu("rtx")["gpu"] == "NVIDIA GeForce RTX 3070 Laptop GPU"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("echo 'NVIDIA-SMI has failed'; exit 9", "finds no GPU: NVIDIA-SMI has failed"),
        ("echo 'No devices were found'", "finds no GPU: No devices were found"),
        ("true", "finds no GPU: no output"),
        ("exec sleep 60", "finds no GPU: .*timed out after"),
    ],
)
def test_broken_driver_is_reported(
    bin_dir: Path, monkeypatch: pytest.MonkeyPatch, text: str, said: str
) -> None:
    write_executable(bin_dir / "nvidia-smi", f"#!/bin/sh\n{text}\n")
    monkeypatch.setattr(gpu, "DRIVER_S", 2.0 if "sleep" in text else 60.0)
    with pytest.raises(UserError, match=said):
        describe_gpu("rtx")


def test_missing_driver_gives_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu.shutil, "which", lambda _: None)
    with pytest.raises(UserError, match="no nvidia-smi"):
        describe_gpu("rtx")


def test_jetson_model_is_read_in_a_container(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hidden, mounted = tmp_path / "model", tmp_path / "jetson-model"
    monkeypatch.setattr(gpu, "JETSON_MODELS", (hidden, mounted))
    with pytest.raises(UserError, match=r"model or .*jetson-model"):
        describe_gpu("jetson")
    mounted.write_text("NVIDIA Jetson AGX Orin Developer Kit\x00")
    assert describe_gpu("jetson")["gpu"] == "NVIDIA Jetson AGX Orin Developer Kit"
