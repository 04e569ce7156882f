"""Real engines of TensorRT-RTX, which builds them ahead of time on a machine without a GPU."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import onnx
import pytest

from tests.conftest import one_line
from tests.training.conftest import make_discs
from training.export.onnx_export import export_onnx
from training.export.precision import convert
from training.models.weight_files import load_network
from xpnet.frames import frame_to_tensor
from xpnet.paths import MODEL_REPOSITORY, ROOT
from xpnet.serving.onnx_inference import OnnxInference
from xpnet.tensorrt.agreement import check_agreement, compare_probabilities
from xpnet.tensorrt.engine_inference import EngineInference
from xpnet.tensorrt.plan_candidates import candidate_path
from xpnet.tensorrt.rtx_engine import summary_path

pytestmark = pytest.mark.integration
WEIGHTS = ROOT / "training" / "weights" / "lite.safetensors"
HAS_GPU = shutil.which("nvidia-smi") is not None


@pytest.fixture(scope="module")
def onnx_files(frames: list[np.ndarray], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with fp32.onnx, fp16.onnx, int8.onnx and uint8.onnx."""
    folder = tmp_path_factory.mktemp("onnx")
    network, card = load_network(WEIGHTS)
    card = card.at_size(64, 64)
    export_onnx(network, card, frames[:1], folder / "fp32.onnx")
    for precision in ("fp16", "int8", "uint8"):
        convert(folder / "fp32.onnx", card, frames, precision, folder / f"{precision}.onnx", 0.0)
    return folder


def build_options(onnx_file: Path, engine: Path, sm: int = 86) -> tuple[object, ...]:
    """Return the command line that builds an engine; compute capability 8.6 is an RTX 30."""
    return ("build", onnx_file, "--target", "rtx", "--ahead-of-time", "--sm", sm,
            "--output", engine)  # fmt: skip


@pytest.mark.parametrize(
    ("precision", "dtype"), [("fp32", "FLOAT"), ("fp16", "HALF"), ("int8", "INT8")]
)
def test_engine_keeps_the_precision_of_its_onnx_file(
    xpnet, onnx_files: Path, tmp_path: Path, precision: str, dtype: str
) -> None:
    engine = tmp_path / "lite.engine"
    result = xpnet(*build_options(onnx_files / f"{precision}.onnx", engine))
    assert result.returncode == 0, result.stderr
    summary = json.loads(summary_path(engine).read_text())
    assert summary["precision"] == precision
    assert summary["architecture"] == "SM86"
    assert summary["engine_bytes"] == engine.stat().st_size > 1_000_000
    assert summary["convolutions"][dtype] >= 0.9 * sum(summary["convolutions"].values())
    assert sum(summary["convolutions"].values()) == 54


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
@pytest.mark.parametrize("model", ["xpnet", "xpnet_lite"])
def test_checked_in_onnx_files_build(xpnet, tmp_path: Path, model: str, precision: str) -> None:
    onnx_file = candidate_path(MODEL_REPOSITORY / model, precision)
    engine = tmp_path / "made.engine"
    result = xpnet(*build_options(onnx_file, engine))
    assert result.returncode == 0, result.stderr
    assert json.loads(summary_path(engine).read_text())["precision"] == precision
    assert engine.stat().st_size > 1_000_000


def compute_capability() -> int:
    """Return the compute capability of this GPU times ten; 86 if there is no GPU."""
    if not HAS_GPU:
        return 86
    command = ["nvidia-smi", "--query-gpu=compute_cap", "--format=csv,noheader"]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    return round(float(result.stdout.split()[0]) * 10)


@pytest.fixture
def engine(xpnet, onnx_files: Path, tmp_path: Path) -> Path:
    """Return an FP16 engine for this machine's GPU, with its summary."""
    path = tmp_path / "lite.engine"
    result = xpnet(*build_options(onnx_files / "fp16.onnx", path, compute_capability()))
    assert result.returncode == 0, result.stderr
    return path


@pytest.mark.skipif(HAS_GPU, reason="this machine has an NVIDIA GPU")
def test_engine_that_cannot_run_gives_one_line(xpnet, engine: Path, tmp_path: Path) -> None:
    command = ("evaluate", "--data", make_discs(tmp_path / "discs", 4), "--file")
    error = one_line(xpnet(*command, engine))
    assert "lite.engine: TensorRT-RTX cannot load it: " in error
    assert error.endswith("check that this machine has an NVIDIA GPU and its driver")
    summary_file = summary_path(engine)
    summary = json.loads(summary_file.read_text())
    summary_file.write_text(json.dumps({**summary, "tensorrt_rtx": "1.0.0"}))
    assert "built with TensorRT-RTX 1.0.0, but " in one_line(xpnet(*command, engine))
    summary_file.unlink()
    assert "expected the summary that `xpnet build` writes" in one_line(xpnet(*command, engine))
    plan = engine.with_suffix(".plan")
    plan.write_bytes(b"plan")
    assert "a plan needs TensorRT, which is not installed" in one_line(xpnet(*command, plan))
    missing = engine.with_name("missing.plan")
    assert "no such TensorRT file" in one_line(xpnet(*command, missing))


@pytest.mark.gpu
@pytest.mark.skipif(not HAS_GPU, reason="no NVIDIA GPU on this machine")
def test_engine_computes_the_same_as_its_onnx_file(
    engine: Path, onnx_files: Path, frames: list[np.ndarray]
) -> None:
    on_gpu, on_cpu = EngineInference(engine), OnnxInference(onnx_files / "fp16.onnx")
    card = on_gpu.card
    tensors = [frame_to_tensor(f, card.input.height, card.input.width) for f in frames]
    actual, expected = (
        np.stack([inference.submit(t).result() for t in tensors]) for inference in (on_gpu, on_cpu)
    )
    check_agreement(engine, compare_probabilities(actual, expected, card.threshold))
    assert 0 < on_gpu.measure_median_ms(tensors[0], 20) < 1000
    on_gpu.close()
    on_cpu.close()


def test_failed_build_gives_one_line_and_leaves_the_existing_engine(
    xpnet, onnx_files: Path, tmp_path: Path
) -> None:
    engine = tmp_path / "lite.engine"
    engine.write_bytes(b"existing engine")

    def build_error(path: Path, sm: int = 86) -> str:
        return one_line(xpnet(*build_options(path, engine, sm)))

    assert "--sm 87: expected one of 75" in build_error(onnx_files / "fp32.onnx", 87)
    assert "Non-zero zero point is not supported" in build_error(onnx_files / "uint8.onnx")
    assert "no such ONNX file" in build_error(tmp_path / "missing.onnx")
    truncated = tmp_path / "truncated.onnx"
    truncated.write_bytes((onnx_files / "fp32.onnx").read_bytes()[:100_000])
    assert "truncated.onnx: not a model that ONNX Runtime can load" in build_error(truncated)
    renamed = tmp_path / "renamed.onnx"
    model = onnx.load(str(onnx_files / "fp32.onnx"))
    for node in model.graph.node:
        node.input[:] = ["image" if name == "frames" else name for name in node.input]
    model.graph.input[0].name = "image"
    onnx.save(model, str(renamed))
    assert "('image', " in build_error(renamed)
    without_card = tmp_path / "without_card.onnx"
    del model.metadata_props[:]
    onnx.save(model, str(without_card))
    assert "expected a file of `xpnet export`" in build_error(without_card)
    assert engine.read_bytes() == b"existing engine"
    assert not summary_path(engine).exists()
