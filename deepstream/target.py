"""What must be there before the graph runs on DeepStream; what is not gets one line each."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deepstream.gstreamer import Gst, has_element
from deepstream.platforms import DGPU, JETSON
from xpnet.card import Card, read_card
from xpnet.errors import UserError
from xpnet.triton.config import check_config
from xpnet.triton.server import servable_models

TEGRA = Path("/etc/nv_tegra_release")
"""Every JetPack has it, no other Linux does."""
PYDS_NEEDS = (
    "gst_buffer_get_nvds_batch_meta",
    "get_nvds_buf_surface",
    "get_segmentation_masks",
    "NvDsInferSegmentationMeta",
)
INSTALL_PYDS = (
    "in NVIDIA's container run /opt/nvidia/deepstream/deepstream/"
    "user_deepstream_python_apps_install.sh; elsewhere install the wheel of "
    "github.com/NVIDIA-AI-IOT/deepstream_python_apps that fits your DeepStream"
)


@dataclass(frozen=True)
class Target:
    """A machine on which the graph can run on DeepStream."""

    platform: str
    pyds: Any
    card: Card
    infer_config: Path

    @property
    def jetson(self) -> bool:
        """Whether surfaces must be mapped."""
        return self.platform == JETSON


def check_target(repository: Path, model: str, infer_config: Path | None, tensors: bool) -> Target:
    """Looks at the machine and the model, as RunSettings name it.

    Raises:
        UserError: DeepStream, its Triton, pyds, the plan or the config is missing or wrong.
    """
    check_deepstream()
    pyds = load_pyds()
    card = check_model(repository, model)
    config = check_infer_config(infer_config, model, card, tensors)
    return Target(detect_platform(), pyds, card, config)


def detect_platform() -> str:
    """The DeepStream table of this machine."""
    return JETSON if TEGRA.exists() else DGPU


def check_deepstream(has: Callable[[str], bool] = has_element) -> None:
    """Raises UserError without DeepStream's elements, or without nvinferserver among them."""
    missing = [name for name in ("nvstreammux", "nvvideoconvert", "nvdsosd") if not has(name)]
    if missing:
        raise UserError(
            f"GStreamer lacks {', '.join(missing)}: NVIDIA DeepStream is not installed here; "
            "--platform gstreamer runs without it"
        )
    if not has("nvinferserver"):
        raise UserError(
            "this DeepStream has no nvinferserver: it is not built with Triton; take a container "
            "nvcr.io/nvidia/deepstream:VERSION-triton-multiarch, or on a Jetson run DeepStream's "
            "triton_backend_setup.sh (then `rm -r ~/.cache/gstreamer-1.0`)"
        )


def load_pyds() -> Any:
    """NVIDIA's pyds. Raises UserError where it is missing, broken, or the other package."""
    try:
        pyds = importlib.import_module("pyds")
    except ImportError as error:
        if isinstance(error, ModuleNotFoundError) and error.name == "pyds":
            raise UserError(
                f"DeepStream's Python binding pyds is missing: {INSTALL_PYDS}"
            ) from error
        raise UserError(f"pyds cannot be loaded: {error}") from error
    lacking = [name for name in PYDS_NEEDS if not hasattr(pyds, name)]
    if len(lacking) == len(PYDS_NEEDS):
        where = getattr(pyds, "__file__", None) or "somewhere"
        raise UserError(
            f"pyds at {where} is not NVIDIA's but an unrelated package of that name from PyPI: "
            f"pip uninstall pyds; then {INSTALL_PYDS}"
        )
    if lacking:
        raise UserError(f"pyds lacks {', '.join(lacking)}: expected 1.1.11 or newer")
    return pyds


def check_model(repository: Path, model: str) -> Card:
    """The card of a model whose weights are there and whose config.pbtxt says what it says.

    Raises:
        UserError: no such model, no plan, or a config that does not fit the card.
    """
    servable_models(repository, (model,))
    card = read_card(repository / model / "card.json")
    check_config(repository / model / "config.pbtxt", card)
    return card


def check_infer_config(path: Path | None, model: str, card: Card, tensors: bool) -> Path:
    """nvinferserver's config, absolute. Raises UserError where it is not for this model."""
    if path is None:
        raise UserError("deepstream needs --infer-config FILE, nvinferserver's config")
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error

    def value(key: str) -> str:
        found = re.search(rf'^\s*{key}\s*:\s*"?([^"\s#}}]+)', text, re.MULTILINE)
        return found[1] if found else "nothing"

    if value("model_name") != model:
        raise UserError(f"{path}: serves {value('model_name')}, expected {model}")
    if tensors:
        if value("output_tensor_meta") != "true":
            raise UserError(
                f"{path}: probabilities need output_control {{output_tensor_meta: true}}"
            )
        return path.absolute()
    for key, expected in (("threshold", card.threshold), ("num_segmentation_classes", 1)):
        if value(key) != f"{expected:g}":
            raise UserError(f"{path}: {key} is {value(key)}, the card of {model} says {expected:g}")
    return path.absolute()


def has_hardware_encoder() -> bool:
    """Whether NVENC is here: the element opens its device. An Orin Nano has the element alone."""
    encoder = Gst.ElementFactory.make("nvv4l2h264enc")
    if encoder is None:
        return False
    try:
        return bool(encoder.set_state(Gst.State.READY) != Gst.StateChangeReturn.FAILURE)
    finally:
        encoder.set_state(Gst.State.NULL)
