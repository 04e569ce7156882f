"""Checks before a run on DeepStream: each missing part gives one line."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from deepstream.app_config import nvinferserver_schema
from deepstream.app_config.infer_config import LABELS_FILE, GrpcServer
from deepstream.platforms import deepstream_checks, deepstream_platform, infer_server_config
from deepstream.platforms.base import Model
from deepstream.platforms.deepstream_platform import DeepStreamPlatform, DeepStreamSettings
from tests.conftest import CLIP, one_line, put_plan
from tests.deepstream.nvds import pyds as offered
from xpnet.card import Card
from xpnet.errors import UserError
from xpnet.host.nvidia_software import Module
from xpnet.paths import MODEL_REPOSITORY

pytestmark = pytest.mark.integration


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """The model's folder with a fake plan."""
    folder = tmp_path / "models" / "xpnet_lite"
    shutil.copytree(MODEL_REPOSITORY / "xpnet_lite", folder)
    put_plan(folder)
    return tmp_path / "models"


def config(
    repository: Path, path: Path | None = None, url: str = "", probabilities: bool = False
) -> tuple[Card, Any]:
    """Return the checked config, parsed."""
    with infer_server_config.open_infer_config(
        path, Model(repository, "xpnet_lite"), url=url, probabilities=probabilities, jetson=False
    ) as found:
        return found[0], nvinferserver_schema.parse(found[1].read_text(), str(found[1]))


def written(folder: Path, repository: Path, change: Any) -> Path:
    """Write the generated config with a change."""
    _, control = config(repository)
    change(control)
    path = folder / "infer.txt"
    (folder / LABELS_FILE).write_text("polyp\n")
    path.write_text(nvinferserver_schema.to_text(control))
    return path


def test_missing_deepstream_gives_one_line(xpnet, tmp_path: Path) -> None:
    result = xpnet("run", CLIP, "--output", tmp_path / "o.mp4", "--platform", "deepstream")
    assert "GStreamer lacks nvstreammux, nvvideoconvert, nvdsosd" in one_line(result)
    assert list(tmp_path.iterdir()) == []


def test_deepstream_without_triton() -> None:
    with pytest.raises(UserError, match="no nvinferserver: it is installed without Triton"):
        deepstream_checks.check_deepstream(lambda name: name != "nvinferserver")
    deepstream_checks.check_deepstream(lambda name: True)


def test_pyds_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "pyds", raising=False)
    with pytest.raises(UserError, match=r"pyds is missing: run scripts/install_pyds\.sh, then"):
        deepstream_checks.load_pyds()


def test_unrelated_package_named_pyds_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The package of that name on the package index reads NASA's Planetary Data System labels."""
    (tmp_path / "pyds.py").write_text("class Label:\n    pass\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "pyds", raising=False)
    with pytest.raises(UserError, match=r"is not NVIDIA's pyds but an unrelated") as caught:
        deepstream_checks.load_pyds()
    assert str(tmp_path / "pyds.py") in str(caught.value)
    assert "pyds" not in sys.modules


def installed(monkeypatch: pytest.MonkeyPatch, numpy: str) -> None:
    """Pretend that NVIDIA's pyds and a version of numpy are installed."""
    found = {
        "pyds": Module("/usr/lib/python3/pyds.so", "1.0.0"),
        "numpy": Module("/usr/lib/python3/numpy/__init__.py", numpy),
    }
    monkeypatch.setattr(deepstream_checks, "find_module", found.get)


def test_numpy_2_with_pyds_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch, "2.2.6")
    monkeypatch.setitem(sys.modules, "pyds", offered)
    with pytest.raises(UserError, match=r"found 2.2.6: pip install 'numpy<2'"):
        deepstream_checks.load_pyds()


def test_old_and_missing_pyds_are_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch, "1.26.4")
    monkeypatch.setattr(
        deepstream_checks, "REQUIRED_PYDS_NAMES", ("get_nvds_buf_surface", "get_everything")
    )
    monkeypatch.setitem(sys.modules, "pyds", offered)
    with pytest.raises(UserError, match=r"pyds lacks get_everything: expected 1.1.11 or newer"):
        deepstream_checks.load_pyds()
    monkeypatch.setattr(deepstream_checks, "REQUIRED_PYDS_NAMES", ("get_nvds_buf_surface",))
    assert deepstream_checks.load_pyds() is offered
    monkeypatch.delitem(sys.modules, "pyds")
    with pytest.raises(UserError, match="pyds cannot be loaded: No module named 'pyds'"):
        deepstream_checks.load_pyds()


def test_pyds_that_cannot_attach_a_mask_is_too_old(monkeypatch: pytest.MonkeyPatch) -> None:
    """pyds 1.1.10 (DeepStream 6.4) has every function, but masks only since 1.1.11."""
    installed(monkeypatch, "1.26.4")

    class MaskParams:
        """NvOSD_MaskParams of pyds 1.1.10."""

    names = {name: None for name in deepstream_checks.REQUIRED_PYDS_NAMES if "." not in name}
    old = SimpleNamespace(**names, NvOSD_MaskParams=MaskParams)
    monkeypatch.setitem(sys.modules, "pyds", old)
    with pytest.raises(UserError, match=r"pyds lacks NvOSD_MaskParams\.alloc_mask_array: expected"):
        deepstream_checks.load_pyds()


def test_plan_that_was_not_built_is_reported() -> None:
    with pytest.raises(UserError, match=r"model\.plan: no TensorRT plan yet.*: xpnet build"):
        config(MODEL_REPOSITORY)


def test_model_with_another_card_is_refused(repository: Path, card: Card) -> None:
    card.at_size(512, 512).write(repository / "xpnet_lite" / "card.json")
    with pytest.raises(UserError) as caught:
        config(repository)
    assert str(caught.value).endswith(
        "config.pbtxt: frames 3 x 256 x 256, expected frames 3 x 512 x 512 as in its card"
    )
    (repository / "xpnet_lite" / "config.pbtxt").write_text("nonsense")
    with pytest.raises(UserError, match=r"config.pbtxt: not a Triton model configuration"):
        config(repository)
    with (
        pytest.raises(UserError, match=r"no model 'nosuch' with a card, only: xpnet_lite"),
        infer_server_config.open_infer_config(
            None, Model(repository, "nosuch"), url="", probabilities=False, jetson=False
        ),
    ):
        pass


def test_config_is_generated_from_the_card(
    repository: Path, card: Card, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[Any] = []
    monkeypatch.setattr(
        infer_server_config, "check_served", lambda *arguments: calls.append(arguments)
    )
    monkeypatch.setattr(infer_server_config, "shares_cuda_memory", lambda url: True)
    found, control = config(repository)
    assert found == card
    infer = control.infer_config
    assert list(infer.backend.triton.model_repo.root) == [str(repository)]
    assert infer.postprocess.segmentation.num_segmentation_classes == 1
    assert infer.postprocess.segmentation.threshold == pytest.approx(card.threshold)
    assert not control.output_control.output_tensor_meta
    assert config(repository, probabilities=True)[1].output_control.output_tensor_meta
    grpc = config(repository, url="127.0.0.1:8001")[1].infer_config.backend.triton.grpc
    assert (grpc.url, grpc.enable_cuda_buffer_sharing) == ("127.0.0.1:8001", True)
    far = config(repository, url="10.0.0.2:8001")[1].infer_config.backend.triton.grpc
    assert not far.enable_cuda_buffer_sharing
    assert calls == [(f"{host}:8001", "xpnet_lite", card) for host in ("127.0.0.1", "10.0.0.2")]


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("127.0.0.1:1", "no Triton server answers at 127.0.0.1:1"),
        ("127.0.0.1", "--url 127.0.0.1: expected HOST:PORT"),
        ("127.0.0.1:99999", "port 99999, expected 1 to 65535"),
        ("http://127.0.0.1:8001", "expected HOST:PORT"),
    ],
)
def test_unreachable_server_is_reported(repository: Path, url: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        config(repository, url=url)
    assert message in str(caught.value)


def test_cuda_buffers_are_shared_on_the_same_dgpu_machine_only() -> None:
    for url, jetson, shared in (
        ("localhost:8001", False, True), ("[::1]:8001", False, True),
        ("127.0.0.1:8001", True, False), ("10.0.0.2:8001", False, False),
    ):  # fmt: skip
        assert GrpcServer.at_address(url, jetson) == GrpcServer(url, shared)


def test_cuda_buffers_are_not_given_to_a_server_that_refuses_them(
    tmp_path: Path, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`xpnet serve --host` restricts shared memory, also for clients of the same machine.

    nvinferserver fails at each batch then (SetInputCudaSharedMemory in infer_grpc_client.cpp).
    """
    monkeypatch.setattr(infer_server_config, "check_served", lambda *_: None)
    monkeypatch.setattr(infer_server_config, "shares_cuda_memory", lambda url: False)
    grpc = config(repository, url="127.0.0.1:8001")[1].infer_config.backend.triton.grpc
    assert not grpc.enable_cuda_buffer_sharing

    def shared(control: Any) -> None:
        server = control.infer_config.backend.triton.grpc
        server.url, server.enable_cuda_buffer_sharing = "127.0.0.1:8001", True

    path = written(tmp_path, repository, shared)
    with pytest.raises(UserError, match=r"enable_cuda_buffer_sharing: Triton at .* refuses it"):
        config(repository, path)


def test_generated_config_is_removed_after_the_run(repository: Path) -> None:
    with infer_server_config.open_infer_config(
        None, Model(repository, "xpnet_lite"), url="", probabilities=False, jetson=False
    ) as (_, path):
        assert path.is_file()
    assert not path.parent.exists()


def test_own_config_is_used(tmp_path: Path, repository: Path) -> None:
    path = written(tmp_path, repository, lambda control: None)
    with infer_server_config.open_infer_config(
        path, Model(repository, "xpnet_lite"), url="", probabilities=False, jetson=False
    ) as (_, found):
        assert found == path


@pytest.mark.parametrize(
    ("change", "probabilities", "message"),
    [
        (
            lambda c: setattr(c.infer_config.postprocess.segmentation, "threshold", 0.3),
            False,
            "threshold 0.3, expected 0.5",
        ),
        (
            lambda c: setattr(
                c.infer_config.postprocess.segmentation, "num_segmentation_classes", 2
            ),
            False,
            "classes 2, expected 1",
        ),
        (
            lambda c: setattr(c.infer_config.postprocess.other, "type_name", "masks"),
            False,
            "no postprocess {segmentation}: it makes no masks",
        ),
        (
            lambda c: setattr(c.input_control, "interval", 2),
            False,
            "interval 2, expected 0: use --mode latest --interval 2",
        ),
        (lambda c: None, True, "--probabilities needs output_control {output_tensor_meta: true}"),
    ],
    ids=["threshold", "classes", "no segmentation", "interval", "no probabilities"],
)
def test_config_that_does_not_match_the_card_is_refused(
    tmp_path: Path, repository: Path, change: Any, probabilities: bool, message: str
) -> None:
    path = written(tmp_path, repository, change)
    with pytest.raises(UserError) as caught:
        config(repository, path, probabilities=probabilities)
    assert message in str(caught.value)


def test_config_of_another_model_is_refused(tmp_path: Path, repository: Path) -> None:
    shutil.copytree(repository / "xpnet_lite", repository / "other")
    path = written(
        tmp_path, repository,
        lambda c: setattr(c.infer_config.backend.triton, "model_name", "other"),
    )  # fmt: skip
    with pytest.raises(UserError, match=r"infer.txt: serves other, expected xpnet_lite"):
        config(repository, path)


def test_missing_config_is_reported(tmp_path: Path, repository: Path) -> None:
    with pytest.raises(UserError, match=r"none.txt: no such file"):
        config(repository, tmp_path / "none.txt")


def test_no_hardware_encoder_here() -> None:
    assert not deepstream_checks.has_hardware_encoder()


def test_jetson_setting_selects_the_platform_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deepstream_platform, "check_deepstream", lambda: None)
    monkeypatch.setattr(deepstream_platform, "load_pyds", lambda: offered)
    for jetson, name in ((False, "deepstream"), (True, "deepstream-jetson")):
        platform = DeepStreamPlatform(DeepStreamSettings(jetson=jetson), "every")
        assert platform.name == name


def test_command_line_accepts_both_platforms(xpnet, tmp_path: Path) -> None:
    output = tmp_path / "o.mp4"
    result = xpnet("run", CLIP, "--output", output, "--platform", "deepstream-jetson")
    assert "GStreamer lacks nvstreammux" in one_line(result)
