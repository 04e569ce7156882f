"""A server that dies, hangs or loses its backend is replaced, and its client finds the new one."""

from __future__ import annotations

import itertools
import os
import signal
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from deepstream.platforms.gstreamer_platform import GStreamerSettings
from deepstream.run import RunSettings, run
from deepstream.run_summary import format_summary
from tests.conftest import CLIP, ffmpeg
from tests.integration.conftest import FREE_PORTS
from xpnet.card import Card
from xpnet.frames import Segmentation
from xpnet.inference import InferenceError
from xpnet.serving.model_config import DEFAULT_MODEL
from xpnet.serving.supervised_server import SupervisedServer, supervised_server
from xpnet.serving.triton_client import TritonInference
from xpnet.serving.triton_server import ServerSettings

pytestmark = pytest.mark.integration


def processes(name: str, group: int) -> list[int]:
    """Return the processes of a group whose name starts like this."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        called, _, rest = status.read_text().partition(") ")
        if called.partition("(")[2].startswith(name) and int(rest.split()[2]) == group:
            found.append(int(status.parent.name))
    return found


def hang(server: SupervisedServer) -> None:
    os.killpg(server.process_group, signal.SIGSTOP)


def kill_backend(server: SupervisedServer) -> None:
    (stub,) = processes("triton_python", server.process_group)
    os.kill(stub, signal.SIGKILL)


@pytest.mark.parametrize(
    ("harm", "reason"),
    [(hang, "no "), (kill_backend, "no result for 2 s")],  # a killed one: see the run below
)
def test_failed_server_is_replaced(
    harm: Callable[[SupervisedServer], None], reason: str, card: Card,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("xpnet.serving.supervised_server.HANG_S", 2.0)
    monkeypatch.setattr("xpnet.serving.triton_client.TIMEOUT_S", 1.0)
    tensor = np.zeros((1, *card.input.shape[1:]), np.float32)
    settings = ServerSettings(models=(DEFAULT_MODEL,), **FREE_PORTS)
    with supervised_server(settings) as server:
        address, first = server.grpc_url, server.process_group
        with closing(TritonInference(address, DEFAULT_MODEL, card)) as inference:
            server.failing_s = inference.failing_s
            inference.submit(tensor).result()
            harm(server)
            deadline = time.monotonic() + 30
            with pytest.raises(InferenceError):
                while time.monotonic() < deadline:
                    inference.submit(tensor).result(timeout=5)
            while time.monotonic() < deadline:
                try:
                    inference.submit(tensor).result(timeout=5)
                    break
                except InferenceError:
                    time.sleep(0.1)
            assert inference.failing_s() == 0
            assert inference.outages >= 1
        assert server.restarts == 1
        assert server.last_reason.startswith(reason)
        assert server.grpc_url == address
        last = server.process_group
    assert not processes("triton", first)
    assert not processes("triton", last)


def test_run_goes_on_with_masks_after_its_server_died(tmp_path: Path) -> None:
    clip = tmp_path / "clip.mp4"
    ffmpeg("-ss", "2", "-i", str(CLIP), "-t", "7", "-an", "-c:v", "libx264", str(clip))
    seen: list[float] = []

    def kill_at_the_tenth(_: Segmentation) -> None:
        seen.append(time.monotonic())
        if len(seen) == 10:
            children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
            servers = [p for p in map(int, children) if processes("tritonserver", p)]
            os.killpg(servers[-1], signal.SIGKILL)

    settings = RunSettings(
        clip, tmp_path / "o.mp4", "latest", max_mask_age_s=1.0, platform=GStreamerSettings("triton")
    )
    summary = run(settings, kill_at_the_tenth)
    assert (summary["frames"], summary["ending"]) == (175, "complete")
    assert summary["server_restarts"] == 1
    assert summary["server_outages"] >= 1
    assert 0 < summary["frames_without_mask"] < 150
    assert max(b - a for a, b in itertools.pairwise(seen)) > 0.5
    lines, failure = format_summary(summary)
    assert lines[-1] == "tritonserver was started again 1 time"
    assert f"{summary['frames_without_mask']} of 175 frames have no mask" in failure
