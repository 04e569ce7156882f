"""Plans built with TensorRT's Python API, without TensorRT.

The options for the DLA are set on a fake config. A real build uses TensorRT-RTX, which has the same
Python API.
"""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from xpnet.card import read_card
from xpnet.errors import NotInstalled, UserError
from xpnet.paths import MODEL_REPOSITORY, card_path
from xpnet.tensorrt import python_api
from xpnet.tensorrt.engine_builder import SerializedEngine, build_engine, read_onnx_card
from xpnet.tensorrt.plan_backend import find_plan_backend
from xpnet.tensorrt.plan_candidates import candidate_path
from xpnet.tensorrt.rtx_engine import import_tensorrt_rtx

MODEL = MODEL_REPOSITORY / "xpnet_lite"


class FakeConfig:
    """A builder config that stores what is set on it."""

    def __init__(self) -> None:
        self.flags: list[str] = []

    def set_flag(self, flag: str) -> None:
        self.flags.append(flag)

    def create_timing_cache(self, _content: bytes) -> Any:
        return SimpleNamespace(serialize=lambda: b"timings")

    def set_timing_cache(self, _cache: Any, _ignore_mismatch: bool) -> bool:
        return True


@pytest.mark.parametrize(
    ("version", "flags", "strongly_typed"),
    [
        ("10.3.0", ["GPU_FALLBACK", "FP16", "PREFER_PRECISION_CONSTRAINTS"], False),
        ("11.4.1", ["GPU_FALLBACK"], True),
    ],
)
def test_dla_needs_the_fp16_flag_before_tensorrt_11(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, version: str, flags: list[str],
    strongly_typed: bool,
) -> None:  # fmt: skip
    # Only these flags exist: TensorRT 11 no longer has the others.
    builder_flags = SimpleNamespace(**{name: name for name in flags})
    trt = SimpleNamespace(
        __version__=version, BuilderFlag=builder_flags, DeviceType=SimpleNamespace(DLA="DLA")
    )
    card = read_card(card_path(MODEL))
    config, built = FakeConfig(), []

    def fake_build_engine(  # type: ignore[no-untyped-def]
        _trt, _name, _onnx, configure, max_batch, strongly_typed
    ):
        configure(SimpleNamespace(num_DLA_cores=2), config)
        built.append((max_batch, strongly_typed))
        return SerializedEngine(b"plan", card, {})

    monkeypatch.setattr(python_api, "import_tensorrt", lambda: trt)
    monkeypatch.setattr(python_api, "require_cuda_runtime", lambda: None)
    monkeypatch.setattr(python_api, "build_engine", fake_build_engine)
    cache = tmp_path / "timings"
    python_api.PythonApi().build(tmp_path / "x.onnx", card, tmp_path / "x.plan", 1, cache)
    assert (config.flags, built) == (flags, [(1, strongly_typed)])
    assert (config.default_device_type, config.DLA_core) == ("DLA", 1)  # type: ignore[attr-defined]
    assert cache.read_bytes() == b"timings"


def test_plan_is_timed_on_the_dla_core_that_it_was_built_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    cores = []

    class FakeInference:
        def __init__(self, _plan: Path, card: Any) -> None:
            cores.append(card.graph["dla"])
            raise NotInstalled("no GPU")

    trt = SimpleNamespace(__version__="11.4.1")
    monkeypatch.setattr(python_api, "import_tensorrt", lambda: trt)
    monkeypatch.setattr(python_api, "require_cuda_runtime", lambda: None)
    monkeypatch.setattr(python_api, "EngineInference", FakeInference)
    frames, card = [np.zeros((1, 3, 8, 8), np.float32)], read_card(card_path(MODEL))
    with pytest.raises(NotInstalled):
        python_api.PythonApi().run(tmp_path / "x.plan", card, frames, 1)
    assert cores == [1]


class RtxAsTensorRt:
    """TensorRT-RTX's module with a version of TensorRT."""

    def __init__(self) -> None:
        self._rtx = import_tensorrt_rtx()

    def __getattr__(self, name: str) -> object:
        return "10.9.0.1" if name == "__version__" else getattr(self._rtx, name)

    def build_engine(  # type: ignore[no-untyped-def]
        self, _trt, library, onnx, configure, max_batch, strongly_typed
    ):
        def configure_for_sm86(builder, config) -> None:  # type: ignore[no-untyped-def]
            config.num_compute_capabilities = 1
            config.set_compute_capability(self._rtx.ComputeCapability.SM86, 0)
            configure(builder, config)

        return build_engine(self._rtx, library, onnx, configure_for_sm86, max_batch, strongly_typed)


@pytest.mark.filterwarnings("ignore:.*Timing cache operations are no-ops:DeprecationWarning")
def test_real_build_ignores_an_invalid_timing_cache(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    trt = RtxAsTensorRt()
    monkeypatch.setattr(python_api, "import_tensorrt", lambda: trt)
    monkeypatch.setattr(python_api, "build_engine", trt.build_engine)
    monkeypatch.setattr(python_api, "require_cuda_runtime", lambda: None)
    backend = find_plan_backend()
    assert (backend.version, backend.describe_timing(None)) == (
        "10.9.0.1", "Python, copies included",
    )  # fmt: skip
    onnx = candidate_path(MODEL, "fp16")
    output, cache = tmp_path / "x.plan", tmp_path / "timings"
    cache.write_bytes(b"not a timing cache")
    backend.build(onnx, read_onnx_card(onnx), output, None, cache)
    assert output.stat().st_size > 1_000_000
    assert cache.read_bytes() != b"not a timing cache"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["timings", "x.plan"]
    with pytest.raises(UserError, match=r"--dla 1: TensorRT 10\.9\.0\.1 finds 0 DLA cores"):
        backend.build(onnx, read_onnx_card(onnx), output, 1, cache)
