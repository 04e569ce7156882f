"""What is missing for DeepStream gets one line: elements, Triton, pyds, plan, config, card."""

from __future__ import annotations

import shutil
import sys
import types
from pathlib import Path

import pytest

from deepstream import target
from tests.conftest import CLIP, one_line
from tests.deepstream.nvds import pyds as offered
from xpnet.card import Card, read_card
from xpnet.errors import UserError
from xpnet.triton.server import REPOSITORY

pytestmark = pytest.mark.integration

CONFIG = """
infer_config {{
  backend {{ triton {{ model_name: "{model}" version: -1 }} }}
  postprocess {{ segmentation {{ threshold: {threshold}
    num_segmentation_classes: {classes} }} }}
}}
output_control {{ output_tensor_meta: {tensors} }}
"""


@pytest.fixture
def card() -> Card:
    return read_card(REPOSITORY / "xpnet_lite" / "card.json")


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """The plan's folder with a file in the plan's place."""
    folder = tmp_path / "models" / "xpnet_lite"
    shutil.copytree(REPOSITORY / "xpnet_lite", folder)
    (folder / "1").mkdir(exist_ok=True)
    (folder / "1" / "model.plan").write_bytes(b"a plan")
    return tmp_path / "models"


def written(folder: Path, **words: object) -> Path:
    path = folder / "infer.txt"
    known = {"model": "xpnet_lite", "threshold": 0.5, "classes": 1, "tensors": "false"}
    lines = (
        CONFIG.format(**{**known, **words}).replace("{ ", "{\n").replace(" version", "\nversion")
    )
    path.write_text(lines)
    return path


def test_this_machine_has_no_deepstream(xpnet, tmp_path: Path) -> None:
    result = xpnet("run", CLIP, "--output", tmp_path / "o.mp4", "--platform", "deepstream")
    assert "GStreamer lacks nvstreammux, nvvideoconvert, nvdsosd" in one_line(result)
    assert list(tmp_path.iterdir()) == []


def test_deepstream_without_triton() -> None:
    with pytest.raises(UserError, match="no nvinferserver: it is not built with Triton"):
        target.check_deepstream(lambda name: name != "nvinferserver")
    target.check_deepstream(lambda name: True)


def test_pyds_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "pyds", raising=False)
    with pytest.raises(UserError, match="pyds is missing: in NVIDIA's container run"):
        target.load_pyds()


def test_the_other_package_called_pyds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one on PyPI is of Dempster-Shafer theory, with one class."""
    (tmp_path / "pyds.py").write_text("class MassFunction(dict):\n    pass\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "pyds", raising=False)
    with pytest.raises(UserError, match="is not NVIDIA's but an unrelated package") as caught:
        target.load_pyds()
    assert str(tmp_path / "pyds.py") in str(caught.value)
    monkeypatch.delitem(sys.modules, "pyds")


def test_pyds_that_is_too_old_broken_or_right(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = types.ModuleType("pyds")
    old.get_nvds_buf_surface = old.gst_buffer_get_nvds_batch_meta = lambda *_: None  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pyds", old)
    with pytest.raises(UserError, match="pyds lacks get_segmentation_masks, NvDsInferSeg"):
        target.load_pyds()
    monkeypatch.setitem(sys.modules, "pyds", offered)
    assert target.load_pyds() is offered
    monkeypatch.delitem(sys.modules, "pyds")
    (tmp_path / "pyds.py").write_text("import libnvds_that_is_not_here")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(UserError, match="pyds cannot be loaded: No module named 'libnvds"):
        target.load_pyds()


def test_a_plan_that_was_not_built() -> None:
    with pytest.raises(UserError, match=r"model.plan is missing: a TensorRT plan is built on the"):
        target.check_model(REPOSITORY, "xpnet_lite")


def test_a_model_whose_card_does_not_fit(repository: Path, card: Card) -> None:
    assert target.check_model(repository, "xpnet_lite") == card
    card.at_size(512, 512).write(repository / "xpnet_lite" / "card.json")
    with pytest.raises(UserError) as caught:
        target.check_model(repository, "xpnet_lite")
    assert str(caught.value).endswith(
        "config.pbtxt: frames 3 x 256 x 256, but the model's card says frames 3 x 512 x 512"
    )
    (repository / "xpnet_lite" / "config.pbtxt").write_text("nonsense")
    with pytest.raises(UserError, match="missing"):
        target.check_model(repository, "xpnet_lite")


def test_an_infer_config_that_fits(tmp_path: Path, card: Card) -> None:
    path = written(tmp_path)
    assert target.check_infer_config(path, "xpnet_lite", card, False) == path.absolute()
    path = written(tmp_path, tensors="true")
    assert target.check_infer_config(path, "xpnet_lite", card, True) == path.absolute()


@pytest.mark.parametrize(
    ("words", "tensors", "message"),
    [
        ({"model": "xpnet"}, False, "serves xpnet, expected xpnet_lite"),
        ({"threshold": 0.3}, False, "threshold is 0.3, the card of xpnet_lite says 0.5"),
        ({"classes": 2}, False, "num_segmentation_classes is 2, the card of xpnet_lite says 1"),
        ({}, True, "probabilities need output_control"),
    ],
)
def test_an_infer_config_that_does_not_fit(
    tmp_path: Path, card: Card, words: dict[str, object], tensors: bool, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        target.check_infer_config(written(tmp_path, **words), "xpnet_lite", card, tensors)


def test_an_infer_config_that_is_not_there(tmp_path: Path, card: Card) -> None:
    with pytest.raises(UserError, match=r"none.txt: cannot be read: No such file"):
        target.check_infer_config(tmp_path / "none.txt", "xpnet_lite", card, False)
    with pytest.raises(UserError, match="deepstream needs --infer-config FILE"):
        target.check_infer_config(None, "xpnet_lite", card, False)


def test_no_hardware_encoder_here() -> None:
    assert not target.has_hardware_encoder()


def test_a_jetson_is_known_by_its_release(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(target, "TEGRA", tmp_path / "nv_tegra_release")
    assert target.detect_platform() == "deepstream"
    (tmp_path / "nv_tegra_release").write_text("# R36")
    assert target.detect_platform() == "deepstream-jetson"
