"""Models of a real server that load, but whose tensors or results cannot be used."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from tritonclient import grpc

from deepstream.platforms.gstreamer_platform import GStreamerSettings
from deepstream.run import RunSettings, run
from deepstream.run_summary import format_summary
from tests.conftest import one_line
from tests.integration.conftest import FREE_PORTS
from xpnet.card import Card, read_card
from xpnet.paths import MODEL_REPOSITORY
from xpnet.serving.model_config import DEFAULT_MODEL
from xpnet.serving.triton_client import TritonInference
from xpnet.serving.triton_server import ServerSettings, TritonServer, running_server

pytestmark = pytest.mark.integration

CODE = """
import numpy as np
import triton_python_backend_utils as pb_utils
from xpnet.serving.backend_tensors import to_numpy, to_tensor

class TritonPythonModel:
    def execute(self, requests):
        return [self._answer(pb_utils.get_input_tensor_by_name(r, "frames")) for r in requests]

    def _answer(self, tensor):
        frames = to_numpy(tensor)
        result = np.full((len(frames), 1, *frames.shape[2:]), np.nan, np.float32)
        output = to_tensor(pb_utils, "probabilities", result)
        return pb_utils.InferenceResponse(output_tensors=[output])
"""


def add_model(repository: Path, name: str, card: Card, datatype: str) -> None:
    """Add a model that returns NaN, as a network that overflows in half precision."""
    folder = repository / name
    (folder / "1").mkdir(parents=True)
    (folder / "1" / "model.py").write_text(CODE)
    shutil.copy(MODEL_REPOSITORY / DEFAULT_MODEL / "card.json", folder)
    tensors = ((kind, spec.name, spec.shape) for kind, spec in
               (("input", card.input), ("output", card.output)))  # fmt: skip
    lines = [f"{kind} {{ name: '{tensor}' data_type: {datatype} dims: {list(shape[1:])} }}"
             for kind, tensor, shape in tensors]  # fmt: skip
    text = "\n".join([f"name: '{name}'", "backend: 'python'", "max_batch_size: 4", *lines])
    (folder / "config.pbtxt").write_text(text)


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("repository")
    card = read_card(MODEL_REPOSITORY / DEFAULT_MODEL / "card.json")
    add_model(root, "overflows", card, "TYPE_FP32")
    add_model(root, "half", card, "TYPE_FP16")
    shutil.copytree(MODEL_REPOSITORY / "xpnet_frame", root / "xpnet_frame")
    config = root / "xpnet_frame" / "config.pbtxt"
    config.write_text(config.read_text().replace(DEFAULT_MODEL, "overflows"))
    return root


@pytest.fixture(scope="module")
def unusual(repository: Path) -> Iterator[TritonServer]:
    with running_server(ServerSettings(repository=repository, **FREE_PORTS)) as server:
        yield server


def test_frames_whose_result_is_nan_are_counted_as_without_mask(
    unusual: TritonServer, repository: Path, short_clip: Path, tmp_path: Path
) -> None:
    """They were shown as frames without a polyp, with exit code 0."""
    platform = GStreamerSettings(url=unusual.grpc_url)
    settings = RunSettings(
        short_clip, tmp_path / "o.mp4", model="overflows", repository=repository, platform=platform
    )
    summary = run(settings)
    assert summary["frames"] == summary["frames_without_mask"] == 40
    failure = format_summary(summary)[1]
    assert "model overflows: the network's output is not finite" in failure
    assert "40 of 40 frames have no mask" in failure


def test_nan_of_one_frame_does_not_make_the_server_count_as_lost(
    unusual: TritonServer, card: Card, caplog: pytest.LogCaptureFixture
) -> None:
    inference = TritonInference(unusual.grpc_url, "overflows", card)
    future = inference.submit(np.zeros((1, *card.input.shape[1:]), np.float32))
    assert "not finite" in str(future.exception(timeout=20))
    assert inference._failure == ""
    assert not caplog.records
    inference.close()


def test_answer_without_a_result_is_not_that_of_an_earlier_frame(
    unusual: TritonServer, card: Card
) -> None:
    inference = TritonInference(unusual.grpc_url, "overflows", card)
    memory, tensor = inference._memory, np.zeros((1, *card.input.shape[1:]), np.float32)
    assert memory is not None
    earlier = np.ones(card.output.shape[2:], np.float32)
    memory._shm.set_shared_memory_region(memory._region, [earlier], memory.output_at(1))
    memory.write(1, tensor)
    assert np.isnan(memory.read(1)).all()
    inference.close()


def test_frame_model_answers_with_an_error_if_the_network_returns_nan(
    unusual: TritonServer,
) -> None:
    request = grpc.InferInput("frame", [64, 96, 3], "UINT8")
    request.set_data_from_numpy(np.zeros((64, 96, 3), np.uint8))
    with pytest.raises(Exception, match="xpnet_frame: the network's output is not finite"):
        grpc.InferenceServerClient(unusual.grpc_url).infer("xpnet_frame", [request])


def test_model_with_half_precision_tensors_is_refused_at_the_start(
    xpnet, unusual: TritonServer, repository: Path, short_clip: Path, tmp_path: Path
) -> None:
    """The video was written completely, without any mask."""
    output = tmp_path / "o.mp4"
    line = one_line(xpnet("run", short_clip, "--output", output, "--url", unusual.grpc_url,
                          "--model", "half", "--repository", repository))  # fmt: skip
    assert "model 'half' has frames FP16" in line
    assert "expected frames FP32" in line
    assert not output.exists()
