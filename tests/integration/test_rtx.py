"""Real NVIDIA engines, built ahead of time: TensorRT-RTX needs no GPU for it."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import onnx
import pytest

from tests.conftest import ROOT, one_line
from tests.training.conftest import make_discs
from training.export.onnx_export import export_onnx
from training.export.precision import convert
from training.models.weight_files import load_network
from xpnet.frames import frame_to_tensor
from xpnet.paths import MODEL_REPOSITORY
from xpnet.serving.onnx_inference import OnnxInference
from xpnet.tensorrt.agreement import check_agreement, compare
from xpnet.tensorrt.engine_inference import EngineInference
from xpnet.tensorrt.plan_builder import graph_of

pytestmark = pytest.mark.integration
WEIGHTS = ROOT / "training" / "weights" / "lite.safetensors"


@pytest.fixture(scope="module")
def graphs(frames: list[np.ndarray], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with fp32.onnx, fp16.onnx, int8.onnx and uint8.onnx."""
    folder = tmp_path_factory.mktemp("graphs")
    network, card = load_network(WEIGHTS)
    card = card.at_size(64, 64)
    export_onnx(network, card, frames[:1], folder / "fp32.onnx")
    for precision in ("fp16", "int8", "uint8"):
        convert(folder / "fp32.onnx", card, frames, precision, folder / f"{precision}.onnx", 0.0)
    return folder


@pytest.mark.parametrize(
    ("precision", "kind"), [("fp32", "FLOAT"), ("fp16", "HALF"), ("int8", "INT8")]
)
def test_every_precision_builds_for_an_rtx_30(
    xpnet, graphs: Path, tmp_path: Path, precision: str, kind: str
) -> None:
    engine = tmp_path / "lite.engine"
    result = xpnet("build", graphs / f"{precision}.onnx", "--target", "rtx", "--ahead-of-time",
                   "--sm", 86, "--output", engine)  # fmt: skip
    assert result.returncode == 0, result.stderr
    made = json.loads(engine.with_name("lite.engine.json").read_text())
    assert made["precision"] == precision
    assert made["architecture"] == "SM86"
    assert made["engine_bytes"] == engine.stat().st_size > 1_000_000
    assert made["convolutions"][kind] >= 0.9 * sum(made["convolutions"].values())
    assert sum(made["convolutions"].values()) == 54


def capability() -> int:
    """Of the GPU, times ten; 86 where there is none: an engine can be built for it anywhere."""
    command = ["nvidia-smi", "--query-gpu=compute_cap", "--format=csv,noheader"]
    if shutil.which(command[0]) is None:
        return 86
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    return round(float(result.stdout.split()[0]) * 10)


def has_gpu() -> bool:
    return shutil.which("nvidia-smi") is not None


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
@pytest.mark.parametrize("model", ["xpnet", "xpnet_lite"])
def test_the_graphs_that_are_checked_in_build(
    xpnet, tmp_path: Path, model: str, precision: str
) -> None:
    onnx_file, engine = graph_of(MODEL_REPOSITORY / model, precision), tmp_path / "made.engine"
    result = xpnet("build", onnx_file, "--target", "rtx", "--ahead-of-time", "--sm", 86,
                   "--output", engine)  # fmt: skip
    assert result.returncode == 0, result.stderr
    made = json.loads(engine.with_name("made.engine.json").read_text())
    assert made["precision"] == precision
    assert engine.stat().st_size > 1_000_000


@pytest.fixture
def engine(xpnet, graphs: Path, tmp_path: Path) -> Path:
    made = tmp_path / "lite.engine"
    result = xpnet("build", graphs / "fp16.onnx", "--target", "rtx", "--ahead-of-time",
                   "--sm", capability(), "--output", made)  # fmt: skip
    assert result.returncode == 0, result.stderr
    return made


@pytest.mark.skipif(has_gpu(), reason="there is an NVIDIA GPU here")
def test_running_an_engine_without_a_gpu_is_named(xpnet, engine: Path, tmp_path: Path) -> None:
    call = ("evaluate", "--data", make_discs(tmp_path / "discs", 4), "--file")
    said = one_line(xpnet(*call, engine))
    assert "lite.engine: TensorRT-RTX cannot load it: " in said
    assert said.endswith("is there an NVIDIA GPU with its driver?")
    summary = engine.with_name("lite.engine.json")
    made = json.loads(summary.read_text())
    summary.write_text(json.dumps({**made, "tensorrt_rtx": "1.0.0"}))
    assert "built with TensorRT-RTX 1.0.0, here is " in one_line(xpnet(*call, engine))
    summary.unlink()
    assert "not the summary of an engine of `xpnet build`" in one_line(xpnet(*call, engine))
    plan = engine.with_suffix(".plan")
    plan.write_bytes(b"plan")
    assert "a plan needs TensorRT, which is not installed" in one_line(xpnet(*call, plan))
    assert "no such TensorRT file" in one_line(xpnet(*call, engine.with_name("none.plan")))


@pytest.mark.gpu
@pytest.mark.skipif(not has_gpu(), reason="no NVIDIA GPU here")
def test_an_engine_computes_what_its_graph_does(
    engine: Path, graphs: Path, frames: list[np.ndarray]
) -> None:
    ours, theirs = EngineInference(engine), OnnxInference(graphs / "fp16.onnx")
    tensors = [frame_to_tensor(f, ours.card.input.height, ours.card.input.width) for f in frames]
    found, wanted = (
        np.stack([model.submit(t).result() for t in tensors]) for model in (ours, theirs)
    )
    check_agreement(engine, compare(found, wanted, ours.card.threshold))
    assert 0 < ours.median_ms(tensors[0], 20) < 1000
    ours.close()
    theirs.close()


def test_what_cannot_be_built_is_named_and_nothing_is_overwritten(
    xpnet, graphs: Path, tmp_path: Path
) -> None:
    engine = tmp_path / "lite.engine"
    engine.write_bytes(b"before")

    def build(path: Path, sm: int = 86) -> str:
        return one_line(xpnet("build", path, "--target", "rtx", "--ahead-of-time",
                              "--sm", sm, "--output", engine))  # fmt: skip

    assert "--sm 87: expected one of 75" in build(graphs / "fp32.onnx", 87)
    assert "Non-zero zero point is not supported" in build(graphs / "uint8.onnx")
    assert "no such ONNX file" in build(tmp_path / "none.onnx")
    truncated = tmp_path / "truncated.onnx"
    truncated.write_bytes((graphs / "fp32.onnx").read_bytes()[:100_000])
    assert "not a model that ONNX Runtime loads" in build(truncated)
    renamed = tmp_path / "renamed.onnx"
    model = onnx.load(str(graphs / "fp32.onnx"))
    for node in model.graph.node:
        node.input[:] = ["image" if name == "frames" else name for name in node.input]
    model.graph.input[0].name = "image"
    onnx.save(model, str(renamed))
    assert "its input is [('image', " in build(renamed)
    foreign = tmp_path / "foreign.onnx"
    del model.metadata_props[:]
    onnx.save(model, str(foreign))
    assert "carries no XP-Net card" in build(foreign)
    assert engine.read_bytes() == b"before"
    assert not engine.with_name("lite.engine.json").exists()
