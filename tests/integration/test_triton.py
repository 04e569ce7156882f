"""The real server: its results, and how it starts, stops and fails."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from tritonclient import grpc
from tritonclient.utils import InferenceServerException

from tests.conftest import one_line
from tests.integration.conftest import FREE_PORTS
from xpnet.card import Card, read_card
from xpnet.errors import UserError
from xpnet.frames import frame_to_tensor, probabilities_to_mask
from xpnet.inference import InferenceError
from xpnet.paths import MODEL_REPOSITORY
from xpnet.serving.cpu_runtimes import AUTO
from xpnet.serving.model_config import DEFAULT_MODEL
from xpnet.serving.onnx_inference import OnnxInference
from xpnet.serving.triton_client import TritonInference
from xpnet.serving.triton_connection import shares_cuda_memory
from xpnet.serving.triton_server import (
    ServerSettings,
    TritonServer,
    find_tritonserver,
    running_server,
    servable_models,
)

pytestmark = pytest.mark.integration


def test_shared_memory_gives_the_same_numbers_as_in_process(
    server: TritonServer, card: Card, in_process: OnnxInference, frames: list[np.ndarray]
) -> None:
    inference = TritonInference(server.grpc_url, DEFAULT_MODEL, card)
    tensors = [frame_to_tensor(f, card.input.height, card.input.width) for f in frames]
    # More requests than slots: they wait for each other, and none gets the result of another.
    answers = [inference.submit(t) for t in tensors]
    for tensor, answer in zip(tensors, answers, strict=True):
        np.testing.assert_allclose(
            answer.result(), in_process.submit(tensor).result(), rtol=0, atol=1e-5
        )
    inference.close()


@pytest.mark.parametrize("name", ["xpnet_onnx", "xpnet_lite_onnx"])
def test_every_served_model_matches_its_card(
    server: TritonServer, frames: list[np.ndarray], name: str
) -> None:
    card = read_card(MODEL_REPOSITORY / name / "card.json")
    inference = TritonInference(server.grpc_url, name, card)
    in_process_ = OnnxInference(MODEL_REPOSITORY / name / "1" / "model.onnx", AUTO)
    tensor = frame_to_tensor(frames[2], card.input.height, card.input.width)
    np.testing.assert_allclose(
        inference.submit(tensor).result(), in_process_.submit(tensor).result(), rtol=0, atol=1e-5
    )
    inference.close()
    in_process_.close()


def test_plain_grpc_gives_the_same_numbers(
    server: TritonServer, card: Card, in_process: OnnxInference, frames: list[np.ndarray],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("xpnet.addresses.LOOPBACK", ())
    inference = TritonInference(server.grpc_url, DEFAULT_MODEL, card)
    tensor = frame_to_tensor(frames[2], card.input.height, card.input.width)
    np.testing.assert_allclose(
        inference.submit(tensor).result(), in_process.submit(tensor).result(), rtol=0, atol=1e-5
    )
    inference.close()


def test_shared_memory_is_freed(server: TritonServer, card: Card) -> None:
    ours = f"xpnet-{os.getpid()}-*"
    before = list(Path("/dev/shm").glob(ours))
    inference = TritonInference(server.grpc_url, DEFAULT_MODEL, card)
    inference.submit(np.zeros((1, *card.input.shape[1:]), np.float32))  # still pending
    assert len(list(Path("/dev/shm").glob(ours))) == len(before) + 1
    inference.close()
    assert list(Path("/dev/shm").glob(ours)) == before


CLIENT = """
import os, sys, time
import numpy as np
from xpnet.card import read_card
from xpnet.paths import MODEL_REPOSITORY
from xpnet.serving.triton_client import TritonInference

card = read_card(MODEL_REPOSITORY / sys.argv[2] / "card.json")
inference = TritonInference(sys.argv[1], sys.argv[2], card)
inference.submit(np.zeros((1, *card.input.shape[1:]), np.float32)).result()
print(inference._memory.name, flush=True)
time.sleep(60)
"""


def test_memory_of_a_killed_client_is_released_by_the_next(
    own_server: TritonServer, card: Card
) -> None:
    command = [sys.executable, "-c", CLIENT, own_server.grpc_url, DEFAULT_MODEL]
    clients = [
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
        for _ in range(2)
    ]
    killed, living = (client.stdout.readline().strip() for client in clients if client.stdout)
    # As when a container is killed: Python's resource tracker, its child, ends with it.
    os.killpg(clients[0].pid, signal.SIGKILL)
    clients[0].wait()
    try:
        inference = TritonInference(own_server.grpc_url, DEFAULT_MODEL, card)
        left = grpc.InferenceServerClient(own_server.grpc_url).get_system_shared_memory_status(
            as_json=True
        )
        assert inference._memory is not None
        assert sorted(left["regions"]) == sorted((living, inference._memory.name))
        assert not Path("/dev/shm", killed).exists()
        assert Path("/dev/shm", living).exists()
        inference.close()
    finally:
        os.killpg(clients[1].pid, signal.SIGKILL)
        clients[1].wait()
        Path("/dev/shm", living).unlink(missing_ok=True)
        Path("/dev/shm", killed).unlink(missing_ok=True)


def test_a_killed_server_leaves_no_shared_memory(own_server: TritonServer) -> None:
    prefix = f"{own_server.shm_prefix}*"
    assert list(Path("/dev/shm").glob(prefix))
    own_server.kill()
    assert not list(Path("/dev/shm").glob(prefix))


def test_no_proxy_is_used_for_this_machine(
    server: TritonServer, card: Card, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "https_proxy", "grpc_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("no_proxy", "no_grpc_proxy"):
        monkeypatch.delenv(name, raising=False)
    inference = TritonInference(server.grpc_url, DEFAULT_MODEL, card)
    assert inference.submit(np.zeros((1, *card.input.shape[1:]), np.float32)).result().ndim == 2
    inference.close()


def test_frame_model_loads_the_model_that_it_calls() -> None:
    assert servable_models(MODEL_REPOSITORY, ("xpnet_frame",)) == ("xpnet_frame", DEFAULT_MODEL)


def test_batches_are_answered_in_order(server: TritonServer, card: Card) -> None:
    shape = (3, *card.input.shape[1:])
    batch = np.random.default_rng(0).random(shape, dtype=np.float32)
    client = grpc.InferenceServerClient(server.grpc_url)

    def ask(array: np.ndarray) -> np.ndarray:
        request = grpc.InferInput(card.input.name, list(array.shape), "FP32")
        request.set_data_from_numpy(array)
        return client.infer(DEFAULT_MODEL, [request]).as_numpy(card.output.name)

    together = ask(batch)
    for number in range(3):
        np.testing.assert_allclose(ask(batch[number : number + 1])[0], together[number], atol=1e-5)


@pytest.mark.parametrize("crop", [(slice(None), slice(None)), (slice(0, 201), slice(3, 400))])
def test_uint8_frames_of_any_size_come_back_as_masks(
    server: TritonServer, card: Card, in_process: OnnxInference, frames: list[np.ndarray],
    crop: tuple[slice, slice],
) -> None:  # fmt: skip
    client = grpc.InferenceServerClient(server.grpc_url)
    for frame in (np.ascontiguousarray(f[crop]) for f in frames):
        request = grpc.InferInput("frame", list(frame.shape), "UINT8")
        request.set_data_from_numpy(frame)
        mask = client.infer("xpnet_frame", [request]).as_numpy("mask")
        height, width = frame.shape[:2]
        tensor = frame_to_tensor(frame, card.input.height, card.input.width)
        probabilities = in_process.submit(tensor).result()
        expected = probabilities_to_mask(probabilities, height, width, card.threshold, card.peak)
        assert mask.shape == (height, width)
        assert mask.dtype == np.uint8
        assert set(np.unique(mask)) <= {0, 255}
        assert (mask // 255 != expected).mean() <= 1e-4


def test_wrong_frame_gets_an_error_and_the_model_stays_loaded(server: TritonServer) -> None:
    client = grpc.InferenceServerClient(server.grpc_url)
    request = grpc.InferInput("frame", [4, 4, 3, 1], "UINT8")
    request.set_data_from_numpy(np.zeros((4, 4, 3, 1), np.uint8))
    with pytest.raises(Exception, match="frame"):
        client.infer("xpnet_frame", [request])
    assert client.is_model_ready("xpnet_frame")


def test_wrong_model_and_wrong_card_are_reported(server: TritonServer, card: Card) -> None:
    with pytest.raises(UserError, match="model 'nosuch' is not ready"):
        TritonInference(server.grpc_url, "nosuch", card)
    other = card.at_size(64, 64)
    with pytest.raises(UserError, match=r"expected frames FP32 \[-1, 3, 64, 64\] as in its card"):
        TritonInference(server.grpc_url, DEFAULT_MODEL, other)
    with pytest.raises(UserError, match=r"no Triton server answers at 127\.0\.0\.1:1:"):
        TritonInference("127.0.0.1:1", DEFAULT_MODEL, card)


def test_dead_backend_fails_at_once_and_is_logged_once(
    own_server: TritonServer, card: Card, caplog: pytest.LogCaptureFixture
) -> None:
    """The server runs and reports the model as ready, but the process of its backend is gone."""
    tensor = np.zeros((1, *card.input.shape[1:]), np.float32)
    inference = TritonInference(own_server.grpc_url, DEFAULT_MODEL, card)
    inference.submit(tensor).result()
    for status in Path("/proc").glob("[0-9]*/stat"):
        name, _, rest = status.read_text().partition(") ")
        if "triton_python" in name and int(rest.split()[2]) == own_server.process_group:
            os.kill(int(status.parent.name), signal.SIGKILL)
    with pytest.raises(InferenceError, match="not healthy"):
        inference.submit(tensor).result(timeout=20)
    for _ in range(30):  # three seconds of video
        with pytest.raises(InferenceError):
            inference.submit(tensor).result(timeout=0)
        time.sleep(0.1)
    assert len(caplog.records) == 1
    assert "frames continue without masks" in caplog.text
    inference.close()


def test_dead_server_fails_at_once_and_is_found_again(card: Card) -> None:
    tensor = np.zeros((1, *card.input.shape[1:]), np.float32)
    with running_server(ServerSettings(models=(DEFAULT_MODEL,), **FREE_PORTS)) as first:
        inference = TritonInference(first.grpc_url, DEFAULT_MODEL, card)
        inference.submit(tensor).result()
        lost = inference._client
        first.kill()
        with pytest.raises(InferenceError):
            inference.submit(tensor).result(timeout=20)
        with pytest.raises(InferenceError, match=f"model {DEFAULT_MODEL}"):
            inference.submit(tensor).result(timeout=0)
    port = int(first.grpc_url.rsplit(":", 1)[1])
    again = ServerSettings(models=(DEFAULT_MODEL,), http_port=0, metrics_port=0, grpc_port=port)
    with running_server(again):
        for _ in range(100):
            try:
                inference.submit(tensor).result(timeout=20)
                break
            except InferenceError:
                time.sleep(0.2)
        else:
            pytest.fail("the client did not find the new server")
        # A broken gRPC connection is retried ever less often.
        assert inference._client is not lost
        inference.close()


def test_clients_can_neither_load_models_nor_change_log_settings(
    server: TritonServer, tmp_path: Path
) -> None:
    client = grpc.InferenceServerClient(server.grpc_url)
    for attempt in (
        lambda: client.load_model(DEFAULT_MODEL),
        lambda: client.unload_model(DEFAULT_MODEL),
        lambda: client.update_log_settings({"log_file": str(tmp_path / "log")}),
    ):
        with pytest.raises(InferenceServerException, match="restricted"):
            attempt()
    url = f"http://{server.http_url}/v2/repository/models/{DEFAULT_MODEL}/unload"
    request = urllib.request.Request(url, data=b"{}", method="POST")
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(request)
    assert client.is_model_ready(DEFAULT_MODEL)
    assert list(tmp_path.iterdir()) == []


def test_clients_of_an_open_server_share_no_cuda_memory(server: TritonServer) -> None:
    """Its `--host` restricts shared memory; nvinferserver would fail at each batch."""
    assert shares_cuda_memory(server.grpc_url)
    with running_server(
        ServerSettings(models=(DEFAULT_MODEL,), host="0.0.0.0", **FREE_PORTS)
    ) as it:
        assert not shares_cuda_memory(f"127.0.0.1:{it.grpc_url.rsplit(':', 1)[1]}")


def test_taken_port_is_reported(server: TritonServer, xpnet) -> None:
    port = server.http_url.rsplit(":", 1)[1]
    line = one_line(xpnet("serve", "--http-port", port))
    assert f"127.0.0.1:{port} cannot be listened on: Address already in use" in line


def test_missing_model_is_reported(xpnet, tmp_path: Path) -> None:
    assert "no model 'nosuch'" in one_line(xpnet("serve", "--model", "nosuch"))
    assert "model.plan is missing" in one_line(xpnet("serve", "--model", "xpnet"))
    assert "no such model repository" in one_line(xpnet("serve", "--repository", tmp_path / "no"))


def test_model_that_does_not_load_is_reported(xpnet, tmp_path: Path) -> None:
    repository = tmp_path / "models"
    shutil.copytree(MODEL_REPOSITORY / DEFAULT_MODEL, repository / DEFAULT_MODEL)
    (repository / DEFAULT_MODEL / "1" / "model.onnx").write_bytes(b"junk")
    ports = [x for p in ("http", "grpc", "metrics") for x in (f"--{p}-port", "0")]
    line = one_line(xpnet("serve", "--repository", repository, *ports))
    assert "tritonserver ended while starting" in line
    assert DEFAULT_MODEL in line


def test_serve_prints_its_addresses_and_ends_on_ctrl_c() -> None:
    ports = [x for p in ("http", "grpc", "metrics") for x in (f"--{p}-port", "0")]
    process = subprocess.Popen(
        [sys.executable, "-m", "xpnet.cli", "serve", *ports], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    lines = [process.stdout.readline() for _ in range(5)]
    assert lines[0] == "serving xpnet_frame, xpnet_lite_onnx, xpnet_onnx\n"
    host, port = lines[2].split()[1].split(":")
    with socket.create_connection((host, int(port)), timeout=5):
        pass
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 0
    with pytest.raises(OSError, match="refused"):
        socket.create_connection((host, int(port)), timeout=5)


def test_killed_server_is_reported() -> None:
    ports = [x for p in ("http", "grpc", "metrics") for x in (f"--{p}-port", "0")]
    process = subprocess.Popen(
        [sys.executable, "-m", "xpnet.cli", "serve", *ports],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    for _ in range(5):
        process.stdout.readline()
    (child,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    os.kill(int(child), signal.SIGKILL)
    _, said = process.communicate(timeout=20)
    assert process.returncode == 2
    assert said == "xpnet: tritonserver ended by itself: killed by SIGKILL\n"


def test_no_server_installed_is_reported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("xpnet.serving.triton_server.BUNDLED_TRITON", tmp_path)
    monkeypatch.setattr("shutil.which", lambda *_, **__: None)
    with pytest.raises(UserError, match=r"not installed: run scripts/setup\.sh"):
        find_tritonserver()
