"""Both CPU runtimes compute an ONNX file correctly, and refuse invalid files."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from xpnet.card import METADATA_KEY, parse_card
from xpnet.errors import UserError
from xpnet.frames import frame_to_tensor
from xpnet.paths import MODEL_REPOSITORY
from xpnet.serving import cpu_runtimes
from xpnet.serving.cpu_runtimes import RUNTIMES, best_runtime, computes_bf16, open_model
from xpnet.serving.model_config import DEFAULT_MODEL

ONNX = MODEL_REPOSITORY / DEFAULT_MODEL / "1" / "model.onnx"


@pytest.fixture(scope="module")
def tensors(frames: list[np.ndarray]) -> np.ndarray:
    return np.concatenate([frame_to_tensor(frame, 256, 256) for frame in frames[:3]])


def run(runtime: str, precision: str | None, tensors: np.ndarray) -> np.ndarray:
    model = open_model(ONNX, runtime, precision=precision)
    (found,) = model.run(["probabilities"], {"frames": tensors})
    return found


def test_threads_leave_the_cores_to_others_between_two_frames(tensors: np.ndarray) -> None:
    model = open_model(ONNX, "onnxruntime", threads=2)
    idle = []
    for _ in range(3):
        model.run(["probabilities"], {"frames": tensors[:1]})
        before = time.process_time()
        time.sleep(0.2)
        idle.append(time.process_time() - before)
    assert min(idle) < 0.01  # of 0.2 s; threads that wait actively use far more


def test_runtimes_agree_in_float32(tensors: np.ndarray) -> None:
    ours, theirs = (run(name, "fp32", tensors) for name in RUNTIMES)
    assert ours.shape == theirs.shape == (3, 1, 256, 256)
    assert ours.max() > 0.5
    np.testing.assert_allclose(ours, theirs, atol=1e-4)


@pytest.mark.skipif(not computes_bf16(), reason="this CPU multiplies no bfloat16")
def test_bfloat16_keeps_the_masks(tensors: np.ndarray) -> None:
    ours, theirs = run("openvino", "bf16", tensors), run("onnxruntime", None, tensors)
    assert 0 < np.abs(ours - theirs).mean() < 0.01
    both = ((ours > 0.5) & (theirs > 0.5)).sum()
    assert 2 * both / ((ours > 0.5).sum() + (theirs > 0.5).sum()) > 0.97


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_batch_gives_the_same_output_as_single_frames(runtime: str, tensors: np.ndarray) -> None:
    together = run(runtime, None, tensors)
    for one, tensor in zip(together, tensors[:, None], strict=True):
        np.testing.assert_allclose(run(runtime, None, tensor)[0], one, atol=1e-5)


def test_openvino_sends_no_telemetry() -> None:
    """OpenVINO's telemetry is a separate package that a system may have: its import is blocked."""
    code = """
import sys

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "openvino_telemetry":
            print("looked for", name)

sys.meta_path.insert(0, Finder())
import subprocess
import sys
import time
from pathlib import Path
from xpnet.serving.cpu_runtimes import open_model
open_model(Path(sys.argv[1]), "openvino")
print("loaded")
"""
    command = [sys.executable, "-c", code, str(ONNX)]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["loaded"]


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_names_and_card_come_from_the_file(runtime: str) -> None:
    model = open_model(ONNX, runtime)
    assert model.inputs == ["frames"]
    assert parse_card(model.metadata[METADATA_KEY], "card").name == "xpnet_lite"


@pytest.mark.parametrize(
    ("installed", "bf16", "wanted"),
    [(True, True, "openvino"), (True, False, "onnxruntime"), (False, True, "onnxruntime")],
)
def test_openvino_is_the_best_runtime_with_bfloat16(
    monkeypatch: pytest.MonkeyPatch, installed: bool, bf16: bool, wanted: str
) -> None:
    monkeypatch.setattr(cpu_runtimes.util, "find_spec", lambda _: object() if installed else None)
    monkeypatch.setattr(cpu_runtimes, "cpu_flags", lambda: ["avx2", "avx512_bf16"] if bf16 else [])
    assert best_runtime() == wanted


@pytest.mark.parametrize(
    ("runtime", "name"), zip(RUNTIMES, ("ONNX Runtime", "OpenVINO"), strict=True)
)
def test_invalid_model_is_reported(tmp_path: Path, runtime: str, name: str) -> None:
    junk = tmp_path / "junk.onnx"
    junk.write_bytes(ONNX.read_bytes()[:100_000])
    with pytest.raises(UserError, match=rf"junk\.onnx: not a model that {name} can load: \S"):
        open_model(junk, runtime)
    with pytest.raises(UserError, match="no such ONNX file"):
        open_model(tmp_path / "none.onnx", runtime)
    with pytest.raises(UserError, match="runtime 'tvm': expected auto or one of onnxruntime"):
        open_model(ONNX, "tvm")


def test_a_signal_is_handled_after_models_were_closed() -> None:
    """Cores of OpenVINO that ended in the order of their start left a freed signal stack."""
    code = (
        "import signal, sys; from pathlib import Path; "
        "from xpnet.serving.cpu_runtimes import open_model; "
        "path = Path(sys.argv[1]); "
        "models = [open_model(path, 'openvino', 1, 'fp32') for _ in range(3)]; "
        "models.pop(0); models.pop(0); models.pop(0); "
        "signal.signal(signal.SIGINT, lambda *_: print('handled')); "
        "signal.raise_signal(signal.SIGINT)"
    )
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", code, str(ONNX)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "handled\n"), done.stderr
