"""Which engine files are loaded, and where the CUDA runtime library is found."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.xpnet.tensorrt.conftest import MODEL
from xpnet.card import read_card
from xpnet.errors import NotInstalled, UserError
from xpnet.paths import card_path, plan_path
from xpnet.tensorrt.engine_inference import (
    EngineInference,
    check_tensorrt_version,
    require_cuda_runtime,
)


class TensorRt103:
    """The part of TensorRT's module that is used before an engine is loaded."""

    __version__ = "10.3.0.30"


@pytest.mark.parametrize(
    ("graph", "message"),
    [
        (
            {"tensorrt": "10.16.0.72"},
            r"built with TensorRT 10\.16\.0\.72, but 10\.3\.0\.30 is installed: build it again",
        ),
        # The first three numbers, as trtexec prints them, are the same.
        ({"tensorrt": "10.3.0", "sha256": "0"}, "the card beside it belongs to another file"),
    ],
    ids=["another version", "another file"],
)
def test_plan_that_does_not_match_is_rejected(
    repository: Path, monkeypatch: pytest.MonkeyPatch, graph: dict[str, str], message: str
) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", TensorRt103)
    plan = plan_path(repository / MODEL)
    plan.parent.mkdir(exist_ok=True)
    plan.write_bytes(b"plan")
    card = read_card(card_path(repository / MODEL))
    replace(card, graph=graph).write(card_path(plan.parent))
    with pytest.raises(UserError, match=message):
        EngineInference(plan)


def test_unknown_suffix_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"expected a file name that ends in \.plan or \.engine"):
        EngineInference(tmp_path / "model.onnx")


@pytest.mark.parametrize("version", ["10.0.1", "10.16.0.72", "11.0.0.1"])
def test_tensorrt_10_and_11_are_accepted(version: str) -> None:
    check_tensorrt_version(version)


@pytest.mark.parametrize("version", ["8.6.1", "9.3.0", "12.0.0"])
def test_other_tensorrt_versions_are_rejected(version: str) -> None:
    with pytest.raises(UserError, match=rf"TensorRT {version}: expected 10 or 11"):
        check_tensorrt_version(version)


def test_cuda_runtime_is_found_in_the_wheel_of_cuda_13(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from polygraphy.cuda import cuda

    wheel = tmp_path / "nvidia" / "cu13" / "lib"
    loaded: list[str] = []

    def load(path: str) -> object:
        if not path.startswith(str(wheel)):
            raise OSError("libcudart.so: cannot open shared object file")
        loaded.append(path)
        return object()

    monkeypatch.setattr(cuda, "G_CUDA", None)
    monkeypatch.setattr(cuda.ctypes, "CDLL", load)
    monkeypatch.setenv("LD_LIBRARY_PATH", "/set/by/the/user")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(NotInstalled, match=r"needs CUDA's runtime \(libcudart\), which is not"):
        require_cuda_runtime()
    wheel.mkdir(parents=True)
    (wheel / "libcudart.so.13").touch()
    require_cuda_runtime()
    assert loaded == [str(wheel / "libcudart.so.13")]
    assert os.environ["LD_LIBRARY_PATH"] == "/set/by/the/user"
