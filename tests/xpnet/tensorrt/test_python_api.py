"""TensorRT's Python module, as far as it can be driven without it, and what it needs beside it."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from xpnet.card import read_card
from xpnet.errors import NotInstalled
from xpnet.paths import MODEL_REPOSITORY
from xpnet.tensorrt import engine_inference, python_api
from xpnet.tensorrt.network_definition import Engine


class Config:
    """Keeps what is set on it."""

    def __init__(self) -> None:
        self.flags: list[str] = []

    def set_flag(self, flag: str) -> None:
        self.flags.append(flag)

    def create_timing_cache(self, _content: bytes) -> Any:
        return SimpleNamespace(serialize=lambda: b"timings")

    def set_timing_cache(self, _cache: Any, _ignore: bool) -> bool:
        return True


@pytest.mark.parametrize(
    ("version", "flags", "typed"),
    [
        ("10.3.0", ["GPU_FALLBACK", "FP16", "PREFER_PRECISION_CONSTRAINTS"], False),
        ("11.4.1", ["GPU_FALLBACK"], True),
    ],
)
def test_the_accelerator_takes_fp16_by_a_flag_until_tensorrt_11(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, version: str, flags: list[str], typed: bool
) -> None:
    names = SimpleNamespace(**{name: name for name in flags})  # of 11 the others are gone
    trt = SimpleNamespace(
        __version__=version, BuilderFlag=names, DeviceType=SimpleNamespace(DLA="DLA")
    )
    card = read_card(MODEL_REPOSITORY / "xpnet_lite" / "card.json")
    config, built = Config(), []

    def build(_trt, _name, _onnx, configure, most, typed):  # type: ignore[no-untyped-def]
        configure(SimpleNamespace(num_DLA_cores=2), config)
        built.append((most, typed))
        return Engine(b"plan", card, {})

    monkeypatch.setattr(python_api, "tensorrt", lambda: trt)
    monkeypatch.setattr(python_api, "require_cuda_runtime", lambda: None)
    monkeypatch.setattr(python_api, "build", build)
    tool, cache = python_api.PythonApi(), tmp_path / "timings"
    tool.build(tmp_path / "x.onnx", card, tmp_path / "x.plan", 1, cache)
    assert (config.flags, built) == (flags, [(1, typed)])
    assert (config.default_device_type, config.DLA_core) == ("DLA", 1)  # type: ignore[attr-defined]
    assert cache.read_bytes() == b"timings"
    opened = []

    class Opened:
        def __init__(self, _plan: Path, card: Any) -> None:
            opened.append(card.graph["dla"])
            raise NotInstalled("far enough")

    monkeypatch.setattr(python_api, "EngineInference", Opened)
    with pytest.raises(NotInstalled):
        tool.run(tmp_path / "x.plan", card, [np.zeros((1, 3, 8, 8), np.float32)], 1)
    assert opened == [1]  # the core that it was built for is the one it is timed on


def test_the_runtime_of_cuda_is_found_in_the_wheel_of_cuda_13(
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
    monkeypatch.setenv("LD_LIBRARY_PATH", "/of/the/user")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(NotInstalled, match=r"needs CUDA's runtime \(libcudart\), which is not"):
        engine_inference.require_cuda_runtime()
    wheel.mkdir(parents=True)
    (wheel / "libcudart.so.13").touch()
    engine_inference.require_cuda_runtime()
    assert loaded == [str(wheel / "libcudart.so.13")]
    assert os.environ["LD_LIBRARY_PATH"] == "/of/the/user"
